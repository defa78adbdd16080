#pragma once

#include <napi.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/args.h"
#include "common/error.h"
#include "common/fast_method.h"
#include "common/unique_fd.h"
#include "runtime/fd_watcher.h"

namespace tsbcc {

/// Owns an mmap.
class Mapping {
 public:
  Mapping(Napi::Env env, size_t size, int protection, int fd, off_t offset) : size_(size) {
    void* address = mmap(nullptr, size, protection, MAP_SHARED, fd, offset);
    if (address == MAP_FAILED) ThrowErrno(env, errno, "mmap");
    data_ = static_cast<uint8_t*>(address);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { munmap(data_, size_); }

  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_;
  size_t size_;
};

/// A word that the kernel and this process share.
template <class Word>
Word LoadAcquire(const uint8_t* address) {
  return std::atomic_ref<Word>(*reinterpret_cast<Word*>(const_cast<uint8_t*>(address))).load(std::memory_order_acquire);
}

inline void StoreRelease(uint8_t* address, uint64_t value) {
  std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(address)).store(value, std::memory_order_release);
}

/**
 * Packs what a drain finds into JavaScript's buffer. An entry is `u32 kind, u32 size` and `size` bytes, and the next
 * one starts at a multiple of 8: so with an aligned buffer every field is aligned as the compiler aligned it.
 */
class RecordWriter {
 public:
  enum Kind : uint32_t { kRecord = 0, kLost = 1 };

  RecordWriter(std::span<uint8_t> out, uint32_t limit) : out_(out), limit_(limit) {}

  /// Room for one more entry of `size` bytes; the caller fills it. nullptr where it does not fit.
  uint8_t* Reserve(Kind kind, size_t size) {
    size_t slot = kHeader + ((size + 7) & ~size_t{7});
    if (count_ == limit_) return nullptr;
    if (slot > out_.size() - used_) {
      if (count_ == 0) needed_ = slot;
      return nullptr;
    }
    uint8_t* entry = out_.data() + used_;
    const uint32_t header[2] = {kind, static_cast<uint32_t>(size)};
    std::memcpy(entry, header, kHeader);
    stride_ = count_ == 0 || stride_ == slot ? slot : 0;
    used_ += slot;
    ++count_;
    uniform_ = uniform_ && kind == kRecord;
    return entry + kHeader;
  }

  /// False where there is no room to say it.
  bool Lost(uint64_t count) {
    uint8_t* entry = Reserve(kLost, sizeof count);
    if (entry != nullptr) std::memcpy(entry, &count, sizeof count);
    return entry != nullptr;
  }

  /// Whether Lost() would succeed.
  bool HasRoom() const { return count_ < limit_ && out_.size() - used_ >= kHeader + sizeof(uint64_t); }

  uint32_t count() const { return count_; }
  size_t used() const { return used_; }
  size_t needed() const { return needed_; }
  /// Bytes from one entry to the next where all are records of one size, else 0.
  size_t stride() const { return uniform_ ? stride_ : 0; }

 private:
  static constexpr size_t kHeader = 2 * sizeof(uint32_t);

  std::span<uint8_t> out_;
  uint32_t limit_;
  uint32_t count_ = 0;
  size_t used_ = 0;
  size_t needed_ = 0;
  size_t stride_ = 0;
  bool uniform_ = true;
};

/// Consumed positions are given back to the kernel whenever so many bytes have been copied: the producer is waiting.
inline constexpr uint64_t kPublishStep = 64 * 1024;

/// What a reader and JavaScript tell each other, by the words of one Uint32Array: see src/native.ts.
enum ReportWord : size_t { kRing, kBytes, kStride, kNeeded, kAvailable, kWanted, kHeld, kWaking, kReportWords };

/**
 * Several rings of one kind behind one epoll descriptor. `Ring` supplies `Open(info)`, `fd()`, `Begin(env)`,
 * `Drain(env, writer)`, `Available()` and `TakeLost()`, and releases what it holds in its destructor. Events may come
 * from Begin() on: a perf event tells its readiness once, and epoll's registration asks for it without passing it on.
 */
template <class Ring>
class RecordReader : public Napi::ObjectWrap<RecordReader<Ring>>, public WakeUpWork {
  using Self = RecordReader<Ring>;
  using Wrap = Napi::ObjectWrap<Self>;

 public:
  static Napi::Function Define(Napi::Env env, const char* name) {
    return Wrap::DefineClass(env, name,
                             {
                                 Wrap::template InstanceMethod<&Self::Add>("add"),
                                 Wrap::template InstanceMethod<&Self::Remove>("remove"),
                                 Wrap::template InstanceMethod<&Self::Target>("target"),
                                 Wrap::template InstanceMethod<&Self::Close>("close"),
                                 Wrap::template InstanceAccessor<&Self::PollFd>("pollFd"),
                                 Wrap::template InstanceAccessor<&Self::Work>("wakeUpWork"),
                             });
  }

  explicit RecordReader(const Napi::CallbackInfo& info) : Wrap(info), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_) ThrowErrno(info.Env(), errno, "epoll_create1");
    auto self = info.This().As<Napi::Object>();
    AddFastMethod<Self, &Self::Wait>(self, this, "wait");
    AddFastMethod<Self, &Self::Poll>(self, this, "poll");
    AddFastMethod<Self, &Self::Drain>(self, this, "drain");
    AddFastMethod<Self, &Self::TakeLost>(self, this, "takeLost");
  }

  uint32_t OnWakeUp(Napi::Env env) override {
    if (report_.empty()) return 0;
    report_[kWaking] = 1;
    if (!epoll_ || report_[kWanted] == 0) return 0;
    try {
      return DrainNext(env, report_[kRing] + 1, rings_.size(), report_[kWanted]);
    } catch (const Napi::Error&) {
      // JavaScript finds nothing drained, drains by itself, and meets the error there.
      return 0;
    }
  }

  bool AfterWakeUp() override {
    if (report_.empty()) return true;
    report_[kWaking] = 0;
    return report_[kHeld] != 0;
  }

 private:
  Napi::Value Add(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    RequireOpen(env);
    std::unique_ptr<Ring> ring = Ring::Open(info);
    epoll_event interest{};
    interest.events = EPOLLIN;
    interest.data.u64 = rings_.size();
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, ring->fd(), &interest) != 0) ThrowErrno(env, errno, "epoll_ctl");
    // A ring that is not kept takes its descriptor, and with it the interest, away.
    ring->Begin(env);
    rings_.push_back(std::move(ring));
    return Napi::Number::New(env, rings_.size() - 1);
  }

  void Remove(const Napi::CallbackInfo& info) {
    uint32_t index = Uint(info[0]);
    if (index >= rings_.size() || !rings_[index]) return;
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, rings_[index]->fd(), nullptr);
    rings_[index].reset();
  }

  void Target(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    auto report = info[1].As<Napi::Uint32Array>();
    if (!info[0].IsTypedArray() || !info[1].IsTypedArray() || report.TypedArrayType() != napi_uint32_array ||
        report.ElementLength() < kReportWords)
      throw Napi::TypeError::New(env, "a reader takes a Uint8Array and a Uint32Array");
    out_ = Napi::Persistent(info[0].As<Napi::Object>());
    report_holder_ = Napi::Persistent(info[1].As<Napi::Object>());
    report_ = {report.Data(), report.ElementLength()};
  }

  double Wait(Napi::Env env, const FastArguments& timeout) {
    epoll_event ready[kMostReady];
    return WaitFor(env, timeout[0], ready);
  }

  double Poll(Napi::Env env, const FastArguments& timeout) {
    epoll_event ready[kMostReady];
    const int count = WaitFor(env, timeout[0], ready);
    uint32_t drained = 0;
    RequireTarget(env);
    report_[kNeeded] = 0;
    for (int i = 0; i < count && drained == 0 && report_[kNeeded] == 0; ++i)
      drained = DrainNext(env, ready[i].data.u64, 1, UINT32_MAX);
    return drained;
  }

  double Drain(Napi::Env env, const FastArguments& arguments) {
    const auto [from, span, most] = arguments;
    return DrainNext(env, from, span, most);
  }

  double TakeLost(Napi::Env env, const FastArguments& arguments) {
    const double index = arguments[0];
    if (!(index >= 0 && index < rings_.size()) || !rings_[index])
      throw Napi::RangeError::New(env, "no such ring in this reader");
    return rings_[index]->TakeLost();
  }

  void Close(const Napi::CallbackInfo&) {
    rings_.clear();
    epoll_.Reset();
    // Not left to the finalizer, which waits for the event loop: where that does not turn, every buffer would stay.
    report_ = {};
    report_holder_.Reset();
    out_.Reset();
  }

  Napi::Value PollFd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), epoll_.get()); }
  Napi::Value Work(const Napi::CallbackInfo& info) { return Napi::External<WakeUpWork>::New(info.Env(), this); }

  static constexpr size_t kMostReady = 16;

  int WaitFor(Napi::Env env, int timeout, epoll_event (&ready)[kMostReady]) {
    RequireOpen(env);
    const int count = epoll_wait(epoll_.get(), ready, kMostReady, timeout);
    // A signal ends the wait early, so that a polling loop sees what the signal was for.
    if (count < 0 && errno != EINTR) ThrowErrno(env, errno, "epoll_wait");
    return std::max(count, 0);
  }

  /// Drains the first of `span` rings, from ring `from` on and around, that has anything.
  uint32_t DrainNext(Napi::Env env, size_t from, size_t span, uint32_t most) {
    RequireOpen(env);
    RequireTarget(env);
    report_[kNeeded] = 0;
    const std::span<uint8_t> out = Out(env);
    for (size_t i = 0; i < std::min(span, rings_.size()); ++i) {
      const size_t index = (from + i) % rings_.size();
      if (!rings_[index]) continue;
      RecordWriter writer(out, most);
      const uint64_t available = rings_[index]->Available();
      rings_[index]->Drain(env, writer);
      if (writer.count() == 0 && writer.needed() == 0) continue;
      report_[kRing] = index;
      report_[kBytes] = writer.used();
      report_[kStride] = writer.stride();
      report_[kNeeded] = writer.needed();
      report_[kAvailable] = std::min<uint64_t>(available, UINT32_MAX);
      report_[kWanted] = 0;
      return writer.count();
    }
    return 0;
  }

  /// Asked for each time: whoever holds the buffer may have transferred its memory to another thread.
  std::span<uint8_t> Out(Napi::Env env) const {
    void* data = nullptr;
    size_t length = 0;
    if (napi_get_typedarray_info(env, out_.Value(), nullptr, &length, &data, nullptr, nullptr) != napi_ok)
      throw Napi::Error::New(env);
    return {static_cast<uint8_t*>(data), data == nullptr ? 0 : length};
  }

  void RequireOpen(Napi::Env env) const {
    if (!epoll_) throw Napi::Error::New(env, "the reader is closed");
  }

  void RequireTarget(Napi::Env env) const {
    if (report_.empty()) throw Napi::Error::New(env, "the reader has no buffer to drain into");
  }

  UniqueFd epoll_;
  /// By index; empty where one was removed.
  std::vector<std::unique_ptr<Ring>> rings_;
  Napi::ObjectReference out_;
  Napi::ObjectReference report_holder_;
  std::span<uint32_t> report_;
};

}  // namespace tsbcc
