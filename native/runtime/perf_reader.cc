#include "runtime/perf_reader.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <cstddef>

namespace tsbcc {

// In linux/perf_event.h since 6.0; the kernel is asked at run time.
constexpr uint64_t kFormatLost = 1U << 4;

static UniqueFd OpenOutputEvent(int pid, int cpu, uint32_t wakeupEvents, bool tellLost) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = PERF_TYPE_SOFTWARE;
  attr.config = PERF_COUNT_SW_BPF_OUTPUT;
  attr.sample_type = PERF_SAMPLE_RAW;
  attr.sample_period = 1;
  attr.wakeup_events = wakeupEvents;
  attr.read_format = tellLost ? kFormatLost : 0;
  return UniqueFd(static_cast<int>(
      syscall(SYS_perf_event_open, &attr, pid, cpu, -1, static_cast<unsigned long>(PERF_FLAG_FD_CLOEXEC))));
}

std::unique_ptr<PerfRing> PerfRing::Open(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto options = info[1].As<Napi::Object>();
  const int cpu = IntOption(options, "cpu");
  const int pid = IntOption(options, "pid", -1);
  const auto wakeupEvents = static_cast<uint32_t>(IntOption(options, "wakeupEvents", 1));
  const auto pages = static_cast<size_t>(IntOption(options, "pages"));
  if (pages == 0 || (pages & (pages - 1)) != 0) throw Napi::RangeError::New(env, "pages must be a power of two");

  UniqueFd map(fcntl(Int(info[0]), F_DUPFD_CLOEXEC, 3));
  if (!map) ThrowErrno(env, errno, "fcntl(F_DUPFD_CLOEXEC)");
  bool tellsLost = true;
  UniqueFd event = OpenOutputEvent(pid, cpu, wakeupEvents, tellsLost);
  if (!event && errno == EINVAL) {
    tellsLost = false;
    event = OpenOutputEvent(pid, cpu, wakeupEvents, tellsLost);
  }
  if (!event) ThrowErrno(env, errno, "perf_event_open");
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return std::make_unique<PerfRing>(env, std::move(map), cpu, std::move(event), tellsLost, page, pages * page);
}

PerfRing::PerfRing(Napi::Env env, UniqueFd map, uint32_t cpu, UniqueFd event, bool tellsLost, size_t page, size_t size)
    : map_(std::move(map)),
      cpu_(cpu),
      event_(std::move(event)),
      tellsLost_(tellsLost),
      size_(size),
      mapping_(env, page + size, PROT_READ | PROT_WRITE, event_.get(), 0),
      data_(mapping_.data() + page) {}

void PerfRing::Begin(Napi::Env env) {
  int value = event_.get();
  int err = bpf_map_update_elem(map_.get(), &cpu_, &value, BPF_ANY);
  if (err != 0) ThrowErrno(env, err, "bpf(BPF_MAP_UPDATE_ELEM)");
  inMap_ = true;
  if (ioctl(event_.get(), PERF_EVENT_IOC_ENABLE, 0) != 0) ThrowErrno(env, errno, "ioctl(PERF_EVENT_IOC_ENABLE)");
}

PerfRing::~PerfRing() {
  if (inMap_) bpf_map_delete_elem(map_.get(), &cpu_);
}

uint8_t* PerfRing::Head() const {
  return mapping_.data() + offsetof(perf_event_mmap_page, data_head);
}
uint8_t* PerfRing::Tail() const {
  return mapping_.data() + offsetof(perf_event_mmap_page, data_tail);
}

uint64_t PerfRing::Available() const {
  return LoadAcquire<uint64_t>(Head()) - LoadAcquire<uint64_t>(Tail());
}

void PerfRing::Copy(void* to, uint64_t position, size_t size) const {
  const uint64_t offset = position & (size_ - 1);
  const size_t first = std::min<uint64_t>(size, size_ - offset);
  std::memcpy(to, data_ + offset, first);
  if (first < size) std::memcpy(static_cast<uint8_t*>(to) + first, data_, size - first);
}

uint64_t PerfRing::TakeLost() {
  uint64_t values[2];  // the event's count, and what was lost
  if (!tellsLost_ || read(event_.get(), values, sizeof values) != sizeof values) return 0;
  bytesSinceLostCheck_ = 0;
  const uint64_t untold = values[1] > toldLost_ ? values[1] - toldLost_ : 0;
  toldLost_ += untold;
  return untold;
}

void PerfRing::Drain(Napi::Env env, RecordWriter& writer) {
  uint64_t tail = LoadAcquire<uint64_t>(Tail());
  uint64_t published = tail;
  const uint64_t head = LoadAcquire<uint64_t>(Head());
  if (head - tail > size_) ThrowErrno(env, EIO, "perf buffer positions are inconsistent");

  while (tail != head) {
    perf_event_header header;
    if (head - tail < sizeof header) ThrowErrno(env, EIO, "a perf buffer record is cut short");
    Copy(&header, tail, sizeof header);
    if (header.size < sizeof header || header.size > head - tail) {
      ThrowErrno(env, EIO, "a perf buffer record reaches past the produced bytes");
    }
    const uint64_t body = tail + sizeof header;
    const size_t bodySize = header.size - sizeof header;
    if (header.type == PERF_RECORD_SAMPLE) {
      uint32_t size;
      if (bodySize < sizeof size) ThrowErrno(env, EIO, "a perf buffer sample is cut short");
      Copy(&size, body, sizeof size);
      if (size > bodySize - sizeof size) ThrowErrno(env, EIO, "a perf buffer sample is longer than its record");
      uint8_t* entry = writer.Reserve(RecordWriter::kRecord, size);
      if (entry == nullptr) break;
      Copy(entry, body + sizeof size, size);
    } else if (header.type == PERF_RECORD_LOST) {
      uint64_t idAndCount[2];
      if (bodySize < sizeof idAndCount) ThrowErrno(env, EIO, "a perf buffer record of loss is cut short");
      Copy(idAndCount, body, sizeof idAndCount);
      // What TakeLost() told ahead of its record is not told twice.
      const uint64_t recorded = recordedLost_ + idAndCount[1];
      if (recorded > toldLost_) {
        if (!writer.Lost(recorded - toldLost_)) break;
        toldLost_ = recorded;
      }
      recordedLost_ = recorded;
    }
    tail += header.size;
    bytesSinceLostCheck_ += header.size;
    if (tail - published >= kPublishStep) {
      StoreRelease(Tail(), tail);
      published = tail;
    }
  }
  if (tail != published) StoreRelease(Tail(), tail);

  // The kernel writes its record of loss only before the next sample that fits. Asking costs an interrupt of the other
  // CPU, and a sample can only have been refused by a ring that was nearly full.
  if (tail == head && bytesSinceLostCheck_ >= size_ / 4 && writer.HasRoom()) {
    const uint64_t untold = TakeLost();
    if (untold > 0) writer.Lost(untold);
  }
}

void InitPerfReader(Napi::Env env, Napi::Object exports) {
  exports.Set("PerfReader", RecordReader<PerfRing>::Define(env, "PerfReader"));
}

}  // namespace tsbcc
