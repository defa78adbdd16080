#pragma once

#include "runtime/record_reader.h"

namespace tsbcc {

/// The ring of one CPU behind a BPF_MAP_TYPE_PERF_EVENT_ARRAY; the map's slot holds it while this object lives.
class PerfRing {
 public:
  /// Arguments: the map's fd, which is duplicated, and { cpu, pages, wakeupEvents, pid }.
  static std::unique_ptr<PerfRing> Open(const Napi::CallbackInfo& info);

  int fd() const { return event_.get(); }
  /// Puts the ring into the map and lets it fill.
  void Begin(Napi::Env env);
  void Drain(Napi::Env env, RecordWriter& writer);
  uint64_t Available() const;
  /// Asks the kernel what was lost and not told yet (Linux 6.0; 0 before). Interrupts the ring's CPU for a moment.
  uint64_t TakeLost();

  PerfRing(Napi::Env env, UniqueFd map, uint32_t cpu, UniqueFd event, bool tellsLost, size_t page, size_t size);
  ~PerfRing();

 private:
  /// Copies out of the ring, around its end where need be.
  void Copy(void* to, uint64_t position, size_t size) const;
  uint8_t* Head() const;
  uint8_t* Tail() const;

  /// Kept open: the kernel clears the slots that were set through a file when that file is closed.
  UniqueFd map_;
  uint32_t cpu_;
  UniqueFd event_;
  bool tellsLost_;
  uint64_t size_;
  Mapping mapping_;
  const uint8_t* data_;
  bool inMap_ = false;
  /// The sum of the ring's own records of loss, and what JavaScript has been told.
  uint64_t recordedLost_ = 0;
  uint64_t toldLost_ = 0;
  uint64_t bytesSinceLostCheck_ = 0;
};

void InitPerfReader(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
