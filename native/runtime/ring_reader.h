#pragma once

#include "runtime/record_reader.h"

namespace tsbcc {

/// The consumer's side of one BPF_MAP_TYPE_RINGBUF (Linux 5.8).
class BpfRing {
 public:
  /// Arguments: the map's fd, which is duplicated.
  static std::unique_ptr<BpfRing> Open(const Napi::CallbackInfo& info);

  int fd() const { return map_.get(); }
  void Begin(Napi::Env) {}
  void Drain(Napi::Env env, RecordWriter& writer);
  uint64_t Available() const;
  /// The kernel does not count what did not fit.
  uint64_t TakeLost() { return 0; }

  BpfRing(Napi::Env env, UniqueFd map, uint32_t size, size_t page);

 private:
  UniqueFd map_;
  uint64_t size_;
  /// One writable page: the position up to which records are consumed.
  Mapping consumer_;
  /// One page with the producer's position, then the data twice in a row, so that no record appears to wrap.
  Mapping producer_;
  const uint8_t* data_;
};

void InitRingReader(Napi::Env env, Napi::Object exports);

}  // namespace tsbcc
