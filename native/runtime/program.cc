#include "runtime/program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "common/args.h"
#include "common/error.h"
#include "common/fd.h"

namespace tsbcc {

static Napi::Value LoadProgram(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto attributes = info[0].As<Napi::Object>();
  std::string name = StringOption(attributes, "name");
  std::string license = StringOption(attributes, "license");
  auto insns = BytesOption(attributes, "insns");
  auto func_info = BytesOption(attributes, "funcInfo");
  auto line_info = BytesOption(attributes, "lineInfo");

  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.kern_version = IntOption(attributes, "kernVersion");
  options.expected_attach_type = static_cast<bpf_attach_type>(IntOption(attributes, "expectedAttachType"));
  options.prog_ifindex = IntOption(attributes, "ifindex");
  options.prog_flags = IntOption(attributes, "flags");
  options.attach_btf_id = IntOption(attributes, "attachBtfId");
  options.attach_btf_obj_fd = IntOption(attributes, "attachBtfObjFd");
  options.attach_prog_fd = IntOption(attributes, "attachProgFd");
  options.prog_btf_fd = IntOption(attributes, "btfFd");
  if (options.prog_btf_fd != 0) {
    options.func_info = func_info.data();
    options.func_info_rec_size = IntOption(attributes, "funcInfoRecSize");
    options.func_info_cnt = options.func_info_rec_size != 0 ? func_info.size() / options.func_info_rec_size : 0;
    options.line_info = line_info.data();
    options.line_info_rec_size = IntOption(attributes, "lineInfoRecSize");
    options.line_info_cnt = options.line_info_rec_size != 0 ? line_info.size() / options.line_info_rec_size : 0;
  }
  std::vector<char> log(static_cast<size_t>(IntOption(attributes, "logSize")));
  options.log_level = IntOption(attributes, "logLevel");
  if (options.log_level != 0 && log.size() > 1) {
    options.log_buf = log.data();
    options.log_size = log.size();
  } else {
    options.log_level = 0;
  }

  UniqueFd fd(bpf_prog_load(static_cast<bpf_prog_type>(IntOption(attributes, "type")), name.c_str(), license.c_str(),
                            reinterpret_cast<const bpf_insn*>(insns.data()), insns.size() / sizeof(bpf_insn),
                            &options));
  int err = fd ? 0 : errno;

  auto result = Napi::Object::New(env);
  result.Set("fd", fd ? WrapFd(env, std::move(fd)) : env.Null());
  result.Set("errno", err);
  result.Set("log", std::string(log.data(), log.empty() ? 0 : strnlen(log.data(), log.size())));
  return result;
}

static std::string Hex(const uint8_t* bytes, size_t size) {
  std::string text(size * 2, '0');
  for (size_t i = 0; i < size; ++i) std::snprintf(&text[i * 2], 3, "%02x", bytes[i]);
  return text;
}

static Napi::Value ProgramInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int fd = Int(info[0]);
  bpf_prog_info sizes = {};
  uint32_t length = sizeof(sizes);
  if (bpf_obj_get_info_by_fd(fd, &sizes, &length) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");

  std::vector<uint32_t> maps(sizes.nr_map_ids);
  std::vector<uint8_t> funcs(size_t{sizes.nr_func_info} * sizes.func_info_rec_size);
  std::vector<uint8_t> lines(size_t{sizes.nr_line_info} * sizes.line_info_rec_size);
  bpf_prog_info program = {};
  program.nr_map_ids = maps.size();
  program.map_ids = reinterpret_cast<uintptr_t>(maps.data());
  program.nr_func_info = sizes.nr_func_info;
  program.func_info_rec_size = sizes.func_info_rec_size;
  program.func_info = reinterpret_cast<uintptr_t>(funcs.data());
  program.nr_line_info = sizes.nr_line_info;
  program.line_info_rec_size = sizes.line_info_rec_size;
  program.line_info = reinterpret_cast<uintptr_t>(lines.data());
  length = sizeof(program);
  if (bpf_obj_get_info_by_fd(fd, &program, &length) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");

  auto ids = Napi::Array::New(env, maps.size());
  for (size_t i = 0; i < maps.size(); ++i) ids.Set(i, maps[i]);
  auto result = Napi::Object::New(env);
  result.Set("type", program.type);
  result.Set("id", program.id);
  result.Set("name", std::string(program.name, strnlen(program.name, sizeof(program.name))));
  result.Set("tag", Hex(program.tag, sizeof(program.tag)));
  result.Set("gplCompatible", static_cast<bool>(program.gpl_compatible));
  result.Set("loadTimeNs", Napi::BigInt::New(env, static_cast<uint64_t>(program.load_time)));
  result.Set("jitedSize", program.jited_prog_len);
  result.Set("xlatedSize", program.xlated_prog_len);
  result.Set("mapIds", ids);
  result.Set("btfId", program.btf_id);
  result.Set("runTimeNs", Napi::BigInt::New(env, static_cast<uint64_t>(program.run_time_ns)));
  result.Set("runCount", Napi::BigInt::New(env, static_cast<uint64_t>(program.run_cnt)));
  result.Set("recursionMisses", Napi::BigInt::New(env, static_cast<uint64_t>(program.recursion_misses)));
  result.Set("verifiedInstructions", program.verified_insns);
  result.Set("funcInfo", CopyBytes(env, funcs.data(), funcs.size()));
  result.Set("funcInfoRecSize", program.func_info_rec_size);
  result.Set("lineInfo", CopyBytes(env, lines.data(), lines.size()));
  result.Set("lineInfoRecSize", program.line_info_rec_size);
  return result;
}

static Napi::Value ProgramXlated(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  bpf_prog_info program = {};
  uint32_t length = sizeof(program);
  if (bpf_obj_get_info_by_fd(Int(info[0]), &program, &length) != 0)
    ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  std::vector<uint8_t> insns(program.xlated_prog_len);
  program = {};
  program.xlated_prog_len = insns.size();
  program.xlated_prog_insns = reinterpret_cast<uintptr_t>(insns.data());
  length = sizeof(program);
  if (bpf_obj_get_info_by_fd(Int(info[0]), &program, &length) != 0)
    ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  return CopyBytes(env, insns.data(), insns.size());
}

/// testRun(fd, dataIn, ctxIn, repeat)
static Napi::Value TestRun(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto data = OptionalBytes(info[1]);
  auto context = OptionalBytes(info[2]);
  // Tail growth (bpf_xdp_adjust_tail and kin) can make the result longer than what went in.
  std::vector<uint8_t> out(data.empty() ? 0 : data.size() + 4096);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = data.empty() ? nullptr : data.data();
  options.data_size_in = data.size();
  options.data_out = out.empty() ? nullptr : out.data();
  options.data_size_out = out.size();
  options.ctx_in = context.empty() ? nullptr : context.data();
  options.ctx_size_in = context.size();
  options.repeat = Int(info[3]);
  int result = bpf_prog_test_run_opts(Int(info[0]), &options);
  int err = result == 0 ? 0 : errno;
  auto object = Napi::Object::New(env);
  object.Set("errno", err);
  object.Set("returnValue", options.retval);
  object.Set("durationNs", options.duration);
  object.Set("dataOut", CopyBytes(env, out.data(), std::min<size_t>(options.data_size_out, out.size())));
  return object;
}

static Napi::Value EnableStats(const Napi::CallbackInfo& info) {
  UniqueFd fd(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!fd) ThrowErrno(info.Env(), errno, "bpf(BPF_ENABLE_STATS)");
  return WrapFd(info.Env(), std::move(fd));
}

static Napi::Value RaiseMemlock(const Napi::CallbackInfo& info) {
  rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  return Napi::Boolean::New(info.Env(), setrlimit(RLIMIT_MEMLOCK, &unlimited) == 0);
}

static void Pin(const Napi::CallbackInfo& info) {
  if (bpf_obj_pin(Int(info[0]), String(info[1]).c_str()) != 0) ThrowErrno(info.Env(), errno, "bpf(BPF_OBJ_PIN)");
}

static Napi::Value GetPinned(const Napi::CallbackInfo& info) {
  UniqueFd fd(bpf_obj_get(String(info[0]).c_str()));
  if (!fd) ThrowErrno(info.Env(), errno, "bpf(BPF_OBJ_GET)");
  return WrapFd(info.Env(), std::move(fd));
}

namespace {
struct ObjectKind {
  const char* name;
  int (*fd_by_id)(uint32_t id);
  int (*next_id)(uint32_t id, uint32_t* next);
};
}  // namespace

static const ObjectKind& KindOf(const Napi::Value& value) {
  static const ObjectKind kinds[] = {
      {"program", bpf_prog_get_fd_by_id, bpf_prog_get_next_id},
      {"map", bpf_map_get_fd_by_id, bpf_map_get_next_id},
      {"link", bpf_link_get_fd_by_id, bpf_link_get_next_id},
      {"btf", bpf_btf_get_fd_by_id, bpf_btf_get_next_id},
  };
  std::string name = String(value);
  for (const ObjectKind& kind : kinds)
    if (name == kind.name) return kind;
  throw Napi::TypeError::New(value.Env(), "no such kind of BPF object: " + name);
}

/// fdById(kind, id)
static Napi::Value FdById(const Napi::CallbackInfo& info) {
  const ObjectKind& kind = KindOf(info[0]);
  UniqueFd fd(kind.fd_by_id(Uint(info[1])));
  if (!fd) ThrowErrno(info.Env(), errno, "bpf(BPF_*_GET_FD_BY_ID)");
  return WrapFd(info.Env(), std::move(fd));
}

static Napi::Value Ids(const Napi::CallbackInfo& info) {
  const ObjectKind& kind = KindOf(info[0]);
  auto ids = Napi::Array::New(info.Env());
  uint32_t id = 0, count = 0;
  while (kind.next_id(id, &id) == 0) ids.Set(count++, id);
  if (errno != ENOENT) ThrowErrno(info.Env(), errno, "bpf(BPF_*_GET_NEXT_ID)");
  return ids;
}

void InitProgram(Napi::Env env, Napi::Object exports) {
  exports.Set("loadProgram", Napi::Function::New<LoadProgram>(env, "loadProgram"));
  exports.Set("programInfo", Napi::Function::New<ProgramInfo>(env, "programInfo"));
  exports.Set("programXlated", Napi::Function::New<ProgramXlated>(env, "programXlated"));
  exports.Set("testRun", Napi::Function::New<TestRun>(env, "testRun"));
  exports.Set("enableStats", Napi::Function::New<EnableStats>(env, "enableStats"));
  exports.Set("raiseMemlock", Napi::Function::New<RaiseMemlock>(env, "raiseMemlock"));
  exports.Set("pin", Napi::Function::New<Pin>(env, "pin"));
  exports.Set("getPinned", Napi::Function::New<GetPinned>(env, "getPinned"));
  exports.Set("fdById", Napi::Function::New<FdById>(env, "fdById"));
  exports.Set("ids", Napi::Function::New<Ids>(env, "ids"));
}

}  // namespace tsbcc
