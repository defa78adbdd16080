#include "runtime/link.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "common/args.h"
#include "common/error.h"
#include "common/fd.h"

namespace tsbcc {

/// BPF_LINK_CREATE's attributes for uprobe_multi (Linux 6.6), which libbpf before 1.3 cannot pass.
struct UprobeMultiAttributes {
  uint32_t program_fd;
  uint32_t target_fd;
  uint32_t attach_type;
  uint32_t flags;
  uint64_t path;
  uint64_t offsets;
  uint64_t ref_ctr_offsets;
  uint64_t cookies;
  uint32_t count;
  uint32_t multi_flags;
  uint32_t pid;
  uint32_t padding;
};

static std::span<const uint64_t> BigUints(const Napi::Value& value) {
  auto bytes = OptionalBytes(value);
  return {reinterpret_cast<const uint64_t*>(bytes.data()), bytes.size() / sizeof(uint64_t)};
}

static UniqueFd CreateUprobeMulti(int program, int target, int type, uint32_t flags, const Napi::Object& multi) {
  std::string path = StringOption(multi, "path");
  auto offsets = BigUints(multi.Get("offsets"));
  auto ref_ctr_offsets = BigUints(multi.Get("refCtrOffsets"));
  if (!ref_ctr_offsets.empty() && ref_ctr_offsets.size() != offsets.size())
    throw Napi::RangeError::New(multi.Env(), "offsets and refCtrOffsets differ in length");
  UprobeMultiAttributes attributes = {};
  attributes.program_fd = program;
  attributes.target_fd = target;
  attributes.attach_type = type;
  attributes.flags = flags;
  attributes.path = reinterpret_cast<uintptr_t>(path.c_str());
  attributes.offsets = reinterpret_cast<uintptr_t>(offsets.data());
  attributes.ref_ctr_offsets = ref_ctr_offsets.empty() ? 0 : reinterpret_cast<uintptr_t>(ref_ctr_offsets.data());
  attributes.count = offsets.size();
  attributes.multi_flags = IntOption(multi, "flags");
  attributes.pid = IntOption(multi, "pid");
  return UniqueFd(syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes)));
}

/// linkCreate(programFd, target, attachType, options)
static Napi::Value LinkCreate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int program = Int(info[0]), target = Int(info[1]), type = Int(info[2]);
  auto given = info[3].IsObject() ? info[3].As<Napi::Object>() : Napi::Object::New(env);
  UniqueFd fd;
  if (Napi::Value multi = given.Get("uprobeMulti"); multi.IsObject()) {
    fd = CreateUprobeMulti(program, target, type, IntOption(given, "flags"), multi.As<Napi::Object>());
  } else {
    LIBBPF_OPTS(bpf_link_create_opts, options);
    options.flags = IntOption(given, "flags");
    options.target_btf_id = IntOption(given, "targetBtfId");
    auto iterator = BytesOption(given, "iterInfo");
    if (!iterator.empty()) {
      options.iter_info = reinterpret_cast<bpf_iter_link_info*>(iterator.data());
      options.iter_info_len = iterator.size();
    }
    std::vector<std::string> names;
    std::vector<const char*> symbols;
    if (Napi::Value kprobes = given.Get("kprobeMulti"); kprobes.IsObject()) {
      auto multi = kprobes.As<Napi::Object>();
      options.kprobe_multi.flags = IntOption(multi, "flags");
      auto addresses = BigUints(multi.Get("addresses"));
      if (!addresses.empty()) {
        options.kprobe_multi.addrs = reinterpret_cast<const unsigned long*>(addresses.data());
        options.kprobe_multi.cnt = addresses.size();
      } else {
        auto list = multi.Get("symbols").As<Napi::Array>();
        for (uint32_t i = 0; i < list.Length(); ++i) names.push_back(String(list.Get(i)));
        for (const std::string& name : names) symbols.push_back(name.c_str());
        options.kprobe_multi.syms = symbols.data();
        options.kprobe_multi.cnt = symbols.size();
      }
    }
    fd = UniqueFd(bpf_link_create(program, target, static_cast<bpf_attach_type>(type), &options));
  }
  if (!fd) ThrowErrno(env, errno, "bpf(BPF_LINK_CREATE)");
  return WrapFd(env, std::move(fd));
}

static Napi::Value LinkInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  bpf_link_info link = {};
  uint32_t size = sizeof(link);
  if (bpf_obj_get_info_by_fd(Int(info[0]), &link, &size) != 0) ThrowErrno(env, errno, "bpf(BPF_OBJ_GET_INFO_BY_FD)");
  auto result = Napi::Object::New(env);
  result.Set("type", link.type);
  result.Set("id", link.id);
  result.Set("programId", link.prog_id);
  switch (link.type) {
    case BPF_LINK_TYPE_XDP:
      result.Set("ifindex", link.xdp.ifindex);
      break;
    case BPF_LINK_TYPE_CGROUP:
      result.Set("cgroupId", Napi::BigInt::New(env, static_cast<uint64_t>(link.cgroup.cgroup_id)));
      result.Set("attachType", link.cgroup.attach_type);
      break;
    case BPF_LINK_TYPE_NETNS:
      result.Set("netnsInode", link.netns.netns_ino);
      result.Set("attachType", link.netns.attach_type);
      break;
    default:
      break;
  }
  return result;
}

/// linkUpdate(fd, programFd): another program takes the place of the link's, without a moment between them.
static void LinkUpdate(const Napi::CallbackInfo& info) {
  if (bpf_link_update(Int(info[0]), Int(info[1]), nullptr) != 0) ThrowErrno(info.Env(), errno, "bpf(BPF_LINK_UPDATE)");
}

static void LinkDetach(const Napi::CallbackInfo& info) {
  if (bpf_link_detach(Int(info[0])) != 0) ThrowErrno(info.Env(), errno, "bpf(BPF_LINK_DETACH)");
}

/// programAttach(programFd, target, attachType, flags)
static void ProgramAttach(const Napi::CallbackInfo& info) {
  if (bpf_prog_attach(Int(info[0]), Int(info[1]), static_cast<bpf_attach_type>(Int(info[2])), Uint(info[3])) != 0)
    ThrowErrno(info.Env(), errno, "bpf(BPF_PROG_ATTACH)");
}

/// programDetach(programFd, target, attachType)
static void ProgramDetach(const Napi::CallbackInfo& info) {
  if (bpf_prog_detach2(Int(info[0]), Int(info[1]), static_cast<bpf_attach_type>(Int(info[2]))) != 0)
    ThrowErrno(info.Env(), errno, "bpf(BPF_PROG_DETACH)");
}

/// rawTracepointOpen(name | null, programFd)
static Napi::Value RawTracepointOpen(const Napi::CallbackInfo& info) {
  std::string name = info[0].IsNull() ? std::string() : String(info[0]);
  UniqueFd fd(bpf_raw_tracepoint_open(info[0].IsNull() ? nullptr : name.c_str(), Int(info[1])));
  if (!fd) ThrowErrno(info.Env(), errno, "bpf(BPF_RAW_TRACEPOINT_OPEN)");
  return WrapFd(info.Env(), std::move(fd));
}

static Napi::Value IterCreate(const Napi::CallbackInfo& info) {
  UniqueFd fd(bpf_iter_create(Int(info[0])));
  if (!fd) ThrowErrno(info.Env(), errno, "bpf(BPF_ITER_CREATE)");
  return WrapFd(info.Env(), std::move(fd));
}

/// perfEventOpen(attributes, pid, cpu, groupFd, flags, config1Text)
static Napi::Value PerfEventOpen(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto given = Bytes(info[0]);
  // The kernel reads as many bytes as the structure itself claims to have.
  std::vector<uint64_t> storage(std::max<size_t>(given.size(), sizeof(perf_event_attr)) / sizeof(uint64_t) + 1);
  std::copy(given.begin(), given.end(), reinterpret_cast<uint8_t*>(storage.data()));
  auto* attributes = reinterpret_cast<perf_event_attr*>(storage.data());
  if (attributes->size > given.size()) throw Napi::RangeError::New(env, "the attributes are shorter than their size");
  std::string text;
  if (info[5].IsString()) {
    text = String(info[5]);
    attributes->config1 = reinterpret_cast<uintptr_t>(text.c_str());
  }
  UniqueFd fd(syscall(SYS_perf_event_open, attributes, Int(info[1]), Int(info[2]), Int(info[3]),
                      static_cast<unsigned long>(Uint(info[4]))));
  if (!fd) ThrowErrno(env, errno, "perf_event_open");
  return WrapFd(env, std::move(fd));
}

/// perfEventIoctl(fd, request, argument)
static void PerfEventIoctl(const Napi::CallbackInfo& info) {
  std::string request = String(info[1]);
  unsigned long number = request == "setBpf"   ? PERF_EVENT_IOC_SET_BPF
                         : request == "enable" ? PERF_EVENT_IOC_ENABLE
                                               : PERF_EVENT_IOC_DISABLE;
  if (ioctl(Int(info[0]), number, Int(info[2])) != 0) ThrowErrno(info.Env(), errno, "ioctl(" + request + ")");
}

void InitLink(Napi::Env env, Napi::Object exports) {
  exports.Set("linkCreate", Napi::Function::New<LinkCreate>(env, "linkCreate"));
  exports.Set("linkInfo", Napi::Function::New<LinkInfo>(env, "linkInfo"));
  exports.Set("linkUpdate", Napi::Function::New<LinkUpdate>(env, "linkUpdate"));
  exports.Set("linkDetach", Napi::Function::New<LinkDetach>(env, "linkDetach"));
  exports.Set("programAttach", Napi::Function::New<ProgramAttach>(env, "programAttach"));
  exports.Set("programDetach", Napi::Function::New<ProgramDetach>(env, "programDetach"));
  exports.Set("rawTracepointOpen", Napi::Function::New<RawTracepointOpen>(env, "rawTracepointOpen"));
  exports.Set("iterCreate", Napi::Function::New<IterCreate>(env, "iterCreate"));
  exports.Set("perfEventOpen", Napi::Function::New<PerfEventOpen>(env, "perfEventOpen"));
  exports.Set("perfEventIoctl", Napi::Function::New<PerfEventIoctl>(env, "perfEventIoctl"));
}

}  // namespace tsbcc
