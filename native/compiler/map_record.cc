#include "compiler/map_record.h"

#include <bpf/bpf.h>
#include <dlfcn.h>

#include <cerrno>
#include <map>

/*
 * libbcc creates a program's maps while it compiles, and pins those that ask for it. A compiler should change nothing
 * in the system, and what libbcc resolved (macros included) is wanted: so its calls of libbpf come here first.
 */

namespace tsbcc {

static std::map<int, MapRecord> records;

const MapRecord& RecordOf(int fd) {
  return records[fd];
}

}  // namespace tsbcc

extern "C" __attribute__((visibility("default"))) int bpf_map_create(enum bpf_map_type type, const char* name,
                                                                     __u32 key_size, __u32 value_size,
                                                                     __u32 max_entries,
                                                                     const struct bpf_map_create_opts* opts) {
  static auto real = reinterpret_cast<decltype(&bpf_map_create)>(dlsym(RTLD_NEXT, "bpf_map_create"));
  int fd = real(type, name, key_size, value_size, max_entries, opts);
  bool of_maps = type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
  if (fd >= 0) tsbcc::records[fd] = {of_maps && opts ? static_cast<int>(opts->inner_map_fd) : -1, ""};
  return fd;
}

/// Whoever loads the program looks for what is pinned already.
extern "C" __attribute__((visibility("default"))) int bpf_obj_get(const char*) {
  errno = ENOENT;
  return -ENOENT;
}

extern "C" __attribute__((visibility("default"))) int bpf_obj_pin(int fd, const char* path) {
  tsbcc::records[fd].pinned = path;
  return 0;
}
