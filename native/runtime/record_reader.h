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
#include "common/unique_fd.h"

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

/**
 * Several rings of one kind behind one epoll descriptor. `Ring` supplies `Open(info)`, `fd()`, `Begin(env)`,
 * `Drain(env, writer)`, `Available()` and `TakeLost()`, and releases what it holds in its destructor. Events may come
 * from Begin() on: a perf event tells its readiness once, and epoll's registration asks for it without passing it on.
 */
template <class Ring>
class RecordReader : public Napi::ObjectWrap<RecordReader<Ring>> {
  using Self = RecordReader<Ring>;
  using Wrap = Napi::ObjectWrap<Self>;

 public:
  static Napi::Function Define(Napi::Env env, const char* name) {
    return Wrap::DefineClass(env, name,
                             {
                                 Wrap::template InstanceMethod<&Self::Add>("add"),
                                 Wrap::template InstanceMethod<&Self::Remove>("remove"),
                                 Wrap::template InstanceMethod<&Self::Wait>("wait"),
                                 Wrap::template InstanceMethod<&Self::Drain>("drain"),
                                 Wrap::template InstanceMethod<&Self::Available>("available"),
                                 Wrap::template InstanceMethod<&Self::TakeLost>("takeLost"),
                                 Wrap::template InstanceMethod<&Self::Close>("close"),
                                 Wrap::template InstanceAccessor<&Self::PollFd>("pollFd"),
                                 Wrap::template InstanceAccessor<&Self::Bytes>("bytes"),
                                 Wrap::template InstanceAccessor<&Self::Needed>("needed"),
                                 Wrap::template InstanceAccessor<&Self::Stride>("stride"),
                             });
  }

  explicit RecordReader(const Napi::CallbackInfo& info) : Wrap(info), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (!epoll_) ThrowErrno(info.Env(), errno, "epoll_create1");
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

  Napi::Value Wait(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    RequireOpen(env);
    epoll_event ready[16];
    int count = epoll_wait(epoll_.get(), ready, std::size(ready), Int(info[0]));
    // A signal ends the wait early, so that a polling loop sees what the signal was for.
    if (count < 0 && errno != EINTR) ThrowErrno(env, errno, "epoll_wait");
    return Napi::Number::New(env, std::max(count, 0));
  }

  Napi::Value Drain(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    Ring& ring = RingAt(info);
    RecordWriter writer(tsbcc::Bytes(info[1]), Uint(info[2]));
    ring.Drain(env, writer);
    bytes_ = writer.used();
    needed_ = writer.needed();
    stride_ = writer.stride();
    return Napi::Number::New(env, writer.count());
  }

  Napi::Value Available(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(RingAt(info).Available()));
  }

  Napi::Value TakeLost(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(RingAt(info).TakeLost()));
  }

  void Close(const Napi::CallbackInfo&) {
    rings_.clear();
    epoll_.Reset();
  }

  Napi::Value PollFd(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), epoll_.get()); }
  Napi::Value Bytes(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), bytes_); }
  Napi::Value Needed(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), needed_); }
  Napi::Value Stride(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), stride_); }

  void RequireOpen(Napi::Env env) const {
    if (!epoll_) throw Napi::Error::New(env, "the reader is closed");
  }

  Ring& RingAt(const Napi::CallbackInfo& info) {
    uint32_t index = Uint(info[0]);
    if (index >= rings_.size() || !rings_[index])
      throw Napi::RangeError::New(info.Env(), "no such ring in this reader");
    return *rings_[index];
  }

  UniqueFd epoll_;
  /// By index; empty where one was removed.
  std::vector<std::unique_ptr<Ring>> rings_;
  double bytes_ = 0;
  double needed_ = 0;
  double stride_ = 0;
};

}  // namespace tsbcc
