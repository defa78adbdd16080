#include "runtime/ring_reader.h"

#include <bpf/bpf.h>
#include <fcntl.h>

namespace tsbcc {

std::unique_ptr<BpfRing> BpfRing::Open(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  UniqueFd map(fcntl(Int(info[0]), F_DUPFD_CLOEXEC, 3));
  if (!map) ThrowErrno(env, errno, "fcntl(F_DUPFD_CLOEXEC)");
  bpf_map_info about{};
  uint32_t length = sizeof about;
  int err = bpf_obj_get_info_by_fd(map.get(), &about, &length);
  if (err != 0) ThrowErrno(env, err, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  if (about.type != BPF_MAP_TYPE_RINGBUF) ThrowErrno(env, EINVAL, "not a ring buffer map");
  return std::make_unique<BpfRing>(env, std::move(map), about.max_entries, sysconf(_SC_PAGESIZE));
}

BpfRing::BpfRing(Napi::Env env, UniqueFd map, uint32_t size, size_t page)
    : map_(std::move(map)),
      size_(size),
      consumer_(env, page, PROT_READ | PROT_WRITE, map_.get(), 0),
      producer_(env, page + 2 * static_cast<size_t>(size), PROT_READ, map_.get(), static_cast<off_t>(page)),
      data_(producer_.data() + page) {}

uint64_t BpfRing::Available() const {
  return LoadAcquire<uint64_t>(producer_.data()) - LoadAcquire<uint64_t>(consumer_.data());
}

void BpfRing::Drain(Napi::Env env, RecordWriter& writer) {
  const uint64_t mask = size_ - 1;
  uint64_t consumed = LoadAcquire<uint64_t>(consumer_.data());
  uint64_t published = consumed;
  const uint64_t produced = LoadAcquire<uint64_t>(producer_.data());
  // The positions are the kernel's to keep apart by at most one ring; a map that something else consumes may differ.
  if (produced - consumed > size_) ThrowErrno(env, EIO, "ring buffer positions are inconsistent");

  while (consumed != produced) {
    const uint8_t* record = data_ + (consumed & mask);
    const uint32_t header = LoadAcquire<uint32_t>(record);
    if ((header & BPF_RINGBUF_BUSY_BIT) != 0) break;
    const uint64_t size = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    const uint64_t slot = (size + BPF_RINGBUF_HDR_SZ + 7) & ~uint64_t{7};
    if (slot > produced - consumed) ThrowErrno(env, EIO, "a ring buffer record reaches past the produced bytes");
    if ((header & BPF_RINGBUF_DISCARD_BIT) == 0) {
      uint8_t* entry = writer.Reserve(RecordWriter::kRecord, size);
      if (entry == nullptr) break;
      std::memcpy(entry, record + BPF_RINGBUF_HDR_SZ, size);
    }
    consumed += slot;
    if (consumed - published >= kPublishStep) {
      StoreRelease(consumer_.data(), consumed);
      published = consumed;
    }
  }
  if (consumed != published) StoreRelease(consumer_.data(), consumed);
}

void InitRingReader(Napi::Env env, Napi::Object exports) {
  exports.Set("RingReader", RecordReader<BpfRing>::Define(env, "RingReader"));
}

}  // namespace tsbcc
