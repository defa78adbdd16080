#include "runtime/map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "common/args.h"
#include "common/error.h"
#include "common/fast_method.h"
#include "common/fd.h"

namespace tsbcc {

static Napi::Value CreateMap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto attributes = info[0].As<Napi::Object>();
  std::string name = StringOption(attributes, "name");
  LIBBPF_OPTS(bpf_map_create_opts, options);
  options.map_flags = IntOption(attributes, "flags");
  options.map_ifindex = IntOption(attributes, "ifindex");
  options.inner_map_fd = IntOption(attributes, "innerMapFd");
  options.btf_fd = IntOption(attributes, "btfFd");
  options.btf_key_type_id = IntOption(attributes, "btfKeyTypeId");
  options.btf_value_type_id = IntOption(attributes, "btfValueTypeId");
  UniqueFd fd(bpf_map_create(static_cast<bpf_map_type>(IntOption(attributes, "type")), name.c_str(),
                             IntOption(attributes, "keySize"), IntOption(attributes, "valueSize"),
                             IntOption(attributes, "maxEntries"), &options));
  if (!fd) ThrowErrno(env, errno, "bpf(BPF_MAP_CREATE)");
  return WrapFd(env, std::move(fd));
}

/// A map's type and sizes, as /proc tells them: a program that watches bpf(2) sees the calls that were asked for alone.
static bpf_map_info Sizes(Napi::Env env, int fd) {
  bpf_map_info map = {};
  std::ifstream lines("/proc/self/fdinfo/" + std::to_string(fd));
  int found = 0;
  for (std::string name; found < 3 && lines >> name; lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    if (name == "map_type:") found += bool(lines >> map.type);
    if (name == "key_size:") found += bool(lines >> map.key_size);
    if (name == "value_size:") found += bool(lines >> map.value_size);
  }
  if (found == 3) return map;
  uint32_t size = sizeof(map);
  if (bpf_obj_get_info_by_fd(fd, &map, &size) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  return map;
}

static Napi::Value MapInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  bpf_map_info map = {};
  uint32_t size = sizeof(map);
  if (bpf_obj_get_info_by_fd(Int(info[0]), &map, &size) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  auto result = Napi::Object::New(env);
  result.Set("type", map.type);
  result.Set("id", map.id);
  result.Set("keySize", map.key_size);
  result.Set("valueSize", map.value_size);
  result.Set("maxEntries", map.max_entries);
  result.Set("flags", map.map_flags);
  result.Set("name", std::string(map.name, strnlen(map.name, sizeof(map.name))));
  result.Set("ifindex", map.ifindex);
  result.Set("btfId", map.btf_id);
  result.Set("btfKeyTypeId", map.btf_key_type_id);
  result.Set("btfValueTypeId", map.btf_value_type_id);
  return result;
}

/// Single elements through two buffers that JavaScript keeps: no allocation and no argument parsing per call.
class MapAccess : public Napi::ObjectWrap<MapAccess> {
 public:
  static Napi::Function Define(Napi::Env env) { return DefineClass(env, "MapAccess", {}); }

  explicit MapAccess(const Napi::CallbackInfo& info)
      : ObjectWrap(info),
        fd_(Int(info[0])),
        key_holder_(Napi::Persistent(info[1].As<Napi::Object>())),
        value_holder_(Napi::Persistent(info[2].As<Napi::Object>())),
        key_(Bytes(info[1])),
        value_(Bytes(info[2])),
        next_(key_.size()) {
    // The kernel reads and writes as many bytes as the map says, whatever the buffers hold.
    bpf_map_info map = Sizes(info.Env(), fd_);
    if (key_.size() < map.key_size || value_.size() < ValueBytes(map))
      throw Napi::RangeError::New(info.Env(), "a key or value buffer is smaller than the map's");
    auto self = info.This().As<Napi::Object>();
    AddFastMethod<MapAccess, &MapAccess::Lookup>(self, this, "lookup");
    AddFastMethod<MapAccess, &MapAccess::Update>(self, this, "update");
    AddFastMethod<MapAccess, &MapAccess::Delete>(self, this, "delete");
    AddFastMethod<MapAccess, &MapAccess::LookupAndDelete>(self, this, "lookupAndDelete");
    AddFastMethod<MapAccess, &MapAccess::NextKey>(self, this, "nextKey");
  }

  /// What one lookup writes: per-CPU maps hold a value, rounded up to 8 bytes, for every possible CPU.
  static size_t ValueBytes(const bpf_map_info& map) {
    switch (map.type) {
      case BPF_MAP_TYPE_PERCPU_HASH:
      case BPF_MAP_TYPE_PERCPU_ARRAY:
      case BPF_MAP_TYPE_LRU_PERCPU_HASH:
      case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: {
        static const int cpus = libbpf_num_possible_cpus();
        return (size_t{map.value_size} + 7) / 8 * 8 * std::max(cpus, 1);
      }
      default:
        return map.value_size;
    }
  }

 private:
  // Null for the key of maps without keys (queues, stacks): the kernel insists.
  const void* Key() const { return key_.empty() ? nullptr : key_.data(); }

  /// 0, or errno.
  static double Outcome(int result) { return result == 0 ? 0 : errno; }

  double Lookup(Napi::Env, const FastArguments&) { return Outcome(bpf_map_lookup_elem(fd_, Key(), value_.data())); }
  double Update(Napi::Env, const FastArguments& flags) {
    return Outcome(bpf_map_update_elem(fd_, Key(), value_.data(), static_cast<uint64_t>(flags[0])));
  }
  double Delete(Napi::Env, const FastArguments&) { return Outcome(bpf_map_delete_elem(fd_, Key())); }
  double LookupAndDelete(Napi::Env, const FastArguments&) {
    return Outcome(bpf_map_lookup_and_delete_elem(fd_, Key(), value_.data()));
  }
  double NextKey(Napi::Env, const FastArguments& from_start) {
    int result = bpf_map_get_next_key(fd_, from_start[0] != 0 ? nullptr : key_.data(), next_.data());
    if (result == 0) std::copy(next_.begin(), next_.end(), key_.begin());
    return Outcome(result);
  }

  int fd_;
  Napi::ObjectReference key_holder_;
  Napi::ObjectReference value_holder_;
  std::span<uint8_t> key_;
  std::span<uint8_t> value_;
  std::vector<uint8_t> next_;
};

/// So much is reserved at once for a table that could need it: fewer calls, and the kernel keeps its place.
constexpr size_t kReservedBytes = 16 << 20;
/// Of elements that are large a batch asks for few, of small ones for no less than pays.
constexpr size_t kLeastChunk = 64, kMostChunk = 4096;

/// Memory that grows without being written first: what a scan does not reach costs no pages.
class GrowingBytes {
 public:
  GrowingBytes() = default;
  GrowingBytes(const GrowingBytes&) = delete;
  GrowingBytes& operator=(const GrowingBytes&) = delete;
  ~GrowingBytes() {
    if (borrowed_.IsEmpty()) std::free(data_);
  }

  /// Uses JavaScript's memory for as long as it suffices.
  void Borrow(Napi::Value array) {
    borrowed_ = array;
    auto bytes = Bytes(array);
    data_ = bytes.data();
    size_ = bytes.size();
  }

  void Reserve(size_t size) {
    void* data = std::realloc(borrowed_.IsEmpty() ? data_ : nullptr, std::max<size_t>(size, 1));
    if (data == nullptr) throw std::bad_alloc();
    if (!borrowed_.IsEmpty()) std::copy_n(data_, std::min(size_, size), static_cast<uint8_t*>(data));
    borrowed_ = Napi::Value();
    data_ = static_cast<uint8_t*>(data);
    size_ = size;
  }
  uint8_t* data() { return data_; }
  size_t size() const { return size_; }

  /// At least the first `size` bytes as a Uint8Array: what was borrowed, a copy where they are few, else the memory as
  /// it lies, without what is far beyond them.
  Napi::Value HandOver(Napi::Env env, size_t size) {
    if (!borrowed_.IsEmpty()) return borrowed_;
    constexpr size_t kCopied = 1 << 14;
    if (size <= kCopied) return CopyBytes(env, data_, size);
    if (size < size_ / 4) Reserve(size);
    auto release = [](Napi::Env, void* data) { std::free(data); };
    auto buffer = Napi::ArrayBuffer::New(env, std::exchange(data_, nullptr), size_, release);
    return Napi::Uint8Array::New(env, size_, buffer, 0);
  }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  Napi::Value borrowed_;
};

/// Collects elements of one map; grows by doubling so that a hash that grows meanwhile still fits.
struct Scan {
  Scan(size_t key_size, size_t value_size) : key_size(key_size), value_size(value_size) {}

  size_t Fitting(size_t bytes) const { return bytes / std::max<size_t>(key_size + value_size, 1); }
  size_t Chunk() const { return std::clamp(Fitting(kReservedBytes / 4), kLeastChunk, kMostChunk); }

  /// Takes JavaScript's memory where it has room for a first chunk, else its own.
  void Start(Napi::Value scratch_keys, Napi::Value scratch_values, size_t elements) {
    if (scratch_keys.IsTypedArray() && scratch_values.IsTypedArray()) {
      size_t room = std::min(Bytes(scratch_keys).size() / std::max<size_t>(key_size, 1),
                             Bytes(scratch_values).size() / std::max<size_t>(value_size, 1));
      if (room >= std::min(elements, Chunk())) {
        keys.Borrow(scratch_keys);
        values.Borrow(scratch_values);
        capacity = room;
      }
    }
    if (capacity == 0) Reserve(std::max<size_t>(elements, 1));
  }

  void Reserve(size_t elements) {
    capacity = elements;
    keys.Reserve(elements * key_size);
    values.Reserve(elements * value_size);
  }
  uint8_t* Key(size_t index) { return keys.data() + index * key_size; }
  uint8_t* Value(size_t index) { return values.data() + index * value_size; }

  size_t key_size;
  size_t value_size;
  size_t capacity = 0;
  size_t count = 0;
  GrowingBytes keys;
  GrowingBytes values;
};

/// 0, or the errno of the call that ended it; EINVAL and ENOTSUP at once mean that the kernel has no batches here.
static int ScanBatches(int fd, Scan& scan, size_t max_entries, bool remove) {
  // Hash maps tell their position as a 32-bit bucket, arrays as a key, others as a whole key.
  std::vector<uint8_t> position(std::max<size_t>(scan.key_size, sizeof(uint64_t)));
  std::vector<uint8_t> next(position.size());
  bool started = false;
  int interrupted = 0;
  size_t chunk = std::min(scan.Chunk(), std::max<size_t>(max_entries, 1));
  for (;;) {
    if (scan.capacity - scan.count < chunk) scan.Reserve(std::max(scan.capacity * 2, scan.count + chunk));
    uint32_t count = static_cast<uint32_t>(scan.capacity - scan.count);
    void* in = started ? position.data() : nullptr;
    int result = remove ? bpf_map_lookup_and_delete_batch(fd, in, next.data(), scan.Key(scan.count),
                                                          scan.Value(scan.count), &count, nullptr)
                        : bpf_map_lookup_batch(fd, in, next.data(), scan.Key(scan.count), scan.Value(scan.count),
                                               &count, nullptr);
    int err = result == 0 ? 0 : errno;
    if (err == ENOSPC) {
      // One bucket holds more than the buffer: ask again with a larger one.
      chunk *= 2;
      continue;
    }
    // Elements that vanished while the kernel looked: it gives up after a few, and goes on when asked again.
    if (err == EINTR && ++interrupted < 64) continue;
    if (err != 0 && err != ENOENT) return err;
    scan.count += count;
    if (err == ENOENT) return 0;
    started = true;
    position.swap(next);
  }
}

/// One call per element. Keys deleted meanwhile are passed over; a walk whose place was deleted starts anew after it.
static int ScanWalk(int fd, Scan& scan) {
  std::vector<uint8_t> key(std::max<size_t>(scan.key_size, 1));
  std::vector<uint8_t> next(key.size());
  bool started = false;
  // A key that vanishes makes the kernel restart from the first one: the bound keeps a busy map from holding us for
  // ever.
  size_t steps = 0;
  for (;;) {
    if (bpf_map_get_next_key(fd, started ? key.data() : nullptr, next.data()) != 0) {
      int err = errno;
      return err == ENOENT ? 0 : err;
    }
    started = true;
    key.swap(next);
    if (scan.count == scan.capacity) scan.Reserve(scan.capacity * 2);
    std::copy(key.begin(), key.begin() + scan.key_size, scan.Key(scan.count));
    int result = bpf_map_lookup_elem(fd, key.data(), scan.Value(scan.count));
    if (result == 0) {
      ++scan.count;
    } else if (errno != ENOENT) {
      return errno;
    }
    if (++steps > 16 * scan.capacity + (1u << 20)) return 0;
  }
}

/// scanMap(fd, keySize, valueSize, maxEntries, remove, scratchKeys?, scratchValues?)
static Napi::Value ScanMap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int fd = Int(info[0]);
  bpf_map_info map = Sizes(env, fd);
  size_t key_size = Uint(info[1]), value_size = Uint(info[2]), max_entries = Uint(info[3]);
  if (key_size != map.key_size || value_size < MapAccess::ValueBytes(map))
    throw Napi::RangeError::New(env, "the key or value size is not the map's");
  bool remove = info[4].ToBoolean();

  Scan scan(key_size, value_size);
  const char* method = "batch";
  int err;
  try {
    scan.Start(info[5], info[6], std::min(max_entries, std::max(scan.Chunk(), scan.Fitting(kReservedBytes))));
    err = ScanBatches(fd, scan, max_entries, remove);
    if (err != 0 && scan.count == 0 && !remove) {
      method = "walk";
      err = ScanWalk(fd, scan);
    }
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(env, "there is no memory for the table's elements");
  }
  // What is removed must reach the caller: a refusal is an error only while there is nothing to lose.
  if (err != 0 && !(remove && scan.count > 0))
    ThrowErrno(env, err, remove ? "bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH)" : "bpf(BPF_MAP_LOOKUP_BATCH)");

  auto result = Napi::Object::New(env);
  result.Set("count", static_cast<double>(scan.count));
  result.Set("keys", scan.keys.HandOver(env, scan.count * key_size));
  result.Set("values", scan.values.HandOver(env, scan.count * value_size));
  result.Set("method", method);
  return result;
}

static Napi::Value BatchResult(Napi::Env env, int result, uint32_t count) {
  int err = result == 0 ? 0 : errno;
  auto object = Napi::Object::New(env);
  object.Set("errno", err);
  object.Set("count", count);
  return object;
}

/// updateMapBatch(fd, keys, values, count)
static Napi::Value UpdateMapBatch(const Napi::CallbackInfo& info) {
  uint32_t count = Uint(info[3]);
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  int result = bpf_map_update_batch(Int(info[0]), Bytes(info[1]).data(), Bytes(info[2]).data(), &count, &options);
  return BatchResult(info.Env(), result, count);
}

/// deleteMapBatch(fd, keys, count)
static Napi::Value DeleteMapBatch(const Napi::CallbackInfo& info) {
  uint32_t count = Uint(info[2]);
  LIBBPF_OPTS(bpf_map_batch_opts, options);
  int result = bpf_map_delete_batch(Int(info[0]), Bytes(info[1]).data(), &count, &options);
  return BatchResult(info.Env(), result, count);
}

/// pidfdOpen(pid): what a task storage map is keyed by
static Napi::Value PidfdOpen(const Napi::CallbackInfo& info) {
  UniqueFd fd(syscall(SYS_pidfd_open, Int(info[0]), 0));
  if (!fd) ThrowErrno(info.Env(), errno, "pidfd_open");
  return WrapFd(info.Env(), std::move(fd));
}

void InitMap(Napi::Env env, Napi::Object exports) {
  exports.Set("createMap", Napi::Function::New<CreateMap>(env, "createMap"));
  exports.Set("pidfdOpen", Napi::Function::New<PidfdOpen>(env, "pidfdOpen"));
  exports.Set("mapInfo", Napi::Function::New<MapInfo>(env, "mapInfo"));
  exports.Set("MapAccess", MapAccess::Define(env));
  exports.Set("scanMap", Napi::Function::New<ScanMap>(env, "scanMap"));
  exports.Set("updateMapBatch", Napi::Function::New<UpdateMapBatch>(env, "updateMapBatch"));
  exports.Set("deleteMapBatch", Napi::Function::New<DeleteMapBatch>(env, "deleteMapBatch"));
}

}  // namespace tsbcc
