#include "runtime/btf.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "common/args.h"
#include "common/error.h"
#include "common/fd.h"

namespace tsbcc {

struct BtfFree {
  void operator()(btf* types) const { btf__free(types); }
};
using BtfPtr = std::unique_ptr<btf, BtfFree>;

struct BtfDumpFree {
  void operator()(btf_dump* dump) const { btf_dump__free(dump); }
};

static BtfPtr ParseBtf(Napi::Env env, std::span<uint8_t> blob) {
  BtfPtr types(btf__new(blob.data(), blob.size()));
  if (!types) ThrowErrno(env, errno, "btf__new");
  return types;
}

/// libbpf before 1.2 does not export btf__new_split: the blob goes through a file that only this process sees.
static BtfPtr ParseSplitBtf(Napi::Env env, std::span<uint8_t> blob, btf* base) {
  UniqueFd file(memfd_create("split-btf", MFD_CLOEXEC));
  if (!file) ThrowErrno(env, errno, "memfd_create");
  for (size_t done = 0; done < blob.size();) {
    ssize_t written = write(file.get(), blob.data() + done, blob.size() - done);
    if (written < 0) ThrowErrno(env, errno, "write");
    done += written;
  }
  BtfPtr types(btf__parse_raw_split(("/proc/self/fd/" + std::to_string(file.get())).c_str(), base));
  if (!types) ThrowErrno(env, errno, "btf__parse_raw_split");
  return types;
}

static Napi::Value LoadBtf(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto blob = Bytes(info[0]);
  UniqueFd fd(bpf_btf_load(blob.data(), blob.size(), nullptr));
  if (fd) return WrapFd(env, std::move(fd));

  int err = errno;
  std::vector<char> log(1 << 16);
  LIBBPF_OPTS(bpf_btf_load_opts, options);
  options.log_buf = log.data();
  options.log_size = log.size();
  options.log_level = 1;
  UniqueFd again(bpf_btf_load(blob.data(), blob.size(), &options));
  Napi::Error error = ErrnoError(env, err, "bpf(BPF_BTF_LOAD)");
  error.Set("log", std::string(log.data(), strnlen(log.data(), log.size())));
  throw error;
}

static Napi::Value BtfBlob(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  bpf_btf_info sizes = {};
  uint32_t length = sizeof(sizes);
  if (bpf_obj_get_info_by_fd(Int(info[0]), &sizes, &length) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  std::vector<uint8_t> blob(sizes.btf_size);
  bpf_btf_info types = {};
  types.btf = reinterpret_cast<uintptr_t>(blob.data());
  types.btf_size = blob.size();
  length = sizeof(types);
  if (bpf_obj_get_info_by_fd(Int(info[0]), &types, &length) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  return CopyBytes(env, blob.data(), blob.size());
}

static Napi::Value BtfInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  char name[64] = {};
  bpf_btf_info types = {};
  types.name = reinterpret_cast<uintptr_t>(name);
  types.name_len = sizeof(name);
  uint32_t length = sizeof(types);
  if (bpf_obj_get_info_by_fd(Int(info[0]), &types, &length) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  auto result = Napi::Object::New(env);
  result.Set("id", types.id);
  result.Set("name", std::string(name, strnlen(name, sizeof(name))));
  result.Set("kernel", static_cast<bool>(types.kernel_btf));
  return result;
}

static void AppendFormatted(void* context, const char* format, va_list arguments) {
  auto& text = *static_cast<std::string*>(context);
  char line[512];
  va_list again;
  va_copy(again, arguments);
  int size = std::vsnprintf(line, sizeof(line), format, arguments);
  if (size >= 0 && static_cast<size_t>(size) < sizeof(line)) {
    text.append(line, size);
  } else if (size > 0) {
    std::vector<char> longer(size + 1);
    std::vsnprintf(longer.data(), longer.size(), format, again);
    text.append(longer.data(), size);
  }
  va_end(again);
}

/// btfDumpC(blob, base)
static Napi::Value BtfDumpC(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto base_blob = OptionalBytes(info[1]);
  BtfPtr base = base_blob.empty() ? nullptr : ParseBtf(env, base_blob);
  BtfPtr types = base ? ParseSplitBtf(env, Bytes(info[0]), base.get()) : ParseBtf(env, Bytes(info[0]));

  std::string text;
  text.reserve(4 << 20);
  std::unique_ptr<btf_dump, BtfDumpFree> dump(btf_dump__new(types.get(), AppendFormatted, &text, nullptr));
  if (!dump) ThrowErrno(env, errno, "btf_dump__new");
  uint32_t end = btf__type_cnt(types.get());
  for (uint32_t id = base ? btf__type_cnt(base.get()) : 1; id < end; ++id) {
    int result = btf_dump__dump_type(dump.get(), id);
    if (result != 0) ThrowErrno(env, result, "btf_dump__dump_type");
  }
  return Napi::String::New(env, text);
}

/// btfFind(blob, name, kind)
static Napi::Value BtfFind(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  BtfPtr types = ParseBtf(env, Bytes(info[0]));
  int id = btf__find_by_name_kind(types.get(), String(info[1]).c_str(), Uint(info[2]));
  return Napi::Number::New(env, id > 0 ? id : 0);
}

void InitBtf(Napi::Env env, Napi::Object exports) {
  exports.Set("loadBtf", Napi::Function::New<LoadBtf>(env, "loadBtf"));
  exports.Set("btfBlob", Napi::Function::New<BtfBlob>(env, "btfBlob"));
  exports.Set("btfInfo", Napi::Function::New<BtfInfo>(env, "btfInfo"));
  exports.Set("btfDumpC", Napi::Function::New<BtfDumpC>(env, "btfDumpC"));
  exports.Set("btfFind", Napi::Function::New<BtfFind>(env, "btfFind"));
}

}  // namespace tsbcc
