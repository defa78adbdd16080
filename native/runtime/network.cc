#include "runtime/network.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

#include "common/args.h"
#include "common/error.h"
#include "common/fd.h"

namespace tsbcc {

/// interfaces(): name and number of each interface of this network namespace
static Napi::Value Interfaces(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto result = Napi::Array::New(env);
  std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> list(if_nameindex(), if_freenameindex);
  if (!list) ThrowErrno(env, errno, "if_nameindex");
  for (struct if_nameindex* entry = list.get(); entry->if_index != 0; ++entry) {
    auto object = Napi::Object::New(env);
    object.Set("name", entry->if_name);
    object.Set("index", entry->if_index);
    result.Set(result.Length(), object);
  }
  return result;
}

/// xdpAttach(ifindex, programFd, flags); programFd -1 removes.
static void XdpAttach(const Napi::CallbackInfo& info) {
  int result = bpf_xdp_attach(Int(info[0]), Int(info[1]), Uint(info[2]), nullptr);
  if (result != 0) ThrowErrno(info.Env(), result, "netlink(XDP)");
}

/// xdpQuery(ifindex, flags): the id of the attached program, 0 for none
static Napi::Value XdpQuery(const Napi::CallbackInfo& info) {
  uint32_t id = 0;
  int result = bpf_xdp_query_id(Int(info[0]), Int(info[1]), &id);
  if (result != 0) ThrowErrno(info.Env(), result, "netlink(XDP query)");
  return Napi::Number::New(info.Env(), id);
}

/// tcAttach(ifindex, direction, programFd, priority, handle, replace)
static Napi::Value TcAttach(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = Int(info[0]);
  hook.attach_point = static_cast<bpf_tc_attach_point>(Int(info[1]));
  int created = bpf_tc_hook_create(&hook);
  if (created != 0 && created != -EEXIST) ThrowErrno(env, created, "netlink(clsact)");

  LIBBPF_OPTS(bpf_tc_opts, options);
  options.prog_fd = Int(info[2]);
  options.priority = Uint(info[3]);
  options.handle = Uint(info[4]);
  options.flags = info[5].ToBoolean() ? BPF_TC_F_REPLACE : 0;
  int result = bpf_tc_attach(&hook, &options);
  if (result != 0) {
    if (created == 0) {
      hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
      bpf_tc_hook_destroy(&hook);
    }
    ThrowErrno(env, result, "netlink(tc filter)");
  }
  auto object = Napi::Object::New(env);
  object.Set("priority", options.priority);
  object.Set("handle", options.handle);
  object.Set("createdHook", created == 0);
  return object;
}

/// Whether any filter, of whatever program, is on one side of the clsact qdisc. libbpf cannot tell.
static bool HasFilters(int ifindex, uint32_t parent) {
  struct {
    nlmsghdr header;
    tcmsg message;
  } request = {};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = RTM_GETTFILTER;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.message.tcm_family = AF_UNSPEC;
  request.message.tcm_ifindex = ifindex;
  request.message.tcm_parent = parent;
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  // What cannot be found out counts as "in use": the qdisc then stays, which harms nobody.
  if (!fd || send(fd.get(), &request, sizeof(request), 0) < 0) return true;
  alignas(nlmsghdr) std::array<char, 32768> buffer;
  for (;;) {
    ssize_t length = recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (length <= 0) return true;
    auto* message = reinterpret_cast<nlmsghdr*>(buffer.data());
    for (; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
      if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) return false;
      if (message->nlmsg_type == RTM_NEWTFILTER) return true;
    }
  }
}

static bool HasFilters(int ifindex) {
  return HasFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)) ||
         HasFilters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS));
}

/// tcDetach(ifindex, direction, priority, handle, destroyHook)
static void TcDetach(const Napi::CallbackInfo& info) {
  LIBBPF_OPTS(bpf_tc_hook, hook);
  hook.ifindex = Int(info[0]);
  hook.attach_point = static_cast<bpf_tc_attach_point>(Int(info[1]));
  LIBBPF_OPTS(bpf_tc_opts, options);
  options.priority = Uint(info[2]);
  options.handle = Uint(info[3]);
  int result = bpf_tc_detach(&hook, &options);
  if (info[4].ToBoolean() && !HasFilters(hook.ifindex)) {
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    int destroyed = bpf_tc_hook_destroy(&hook);
    if (result == 0 && destroyed != -ENOENT) result = destroyed;
  }
  if (result != 0) ThrowErrno(info.Env(), result, "netlink(tc filter)");
}

/// openRawSocket(ifname): a packet socket that sees every frame of the interface
static Napi::Value OpenRawSocket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string name = String(info[0]);
  UniqueFd fd(socket(PF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL)));
  if (!fd) ThrowErrno(env, errno, "socket(PF_PACKET)");
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = name.empty() ? 0 : static_cast<int>(if_nametoindex(name.c_str()));
  if (!name.empty() && address.sll_ifindex == 0) ThrowErrno(env, errno, "if_nametoindex");
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) ThrowErrno(env, errno, "bind");
  return WrapFd(env, std::move(fd));
}

/// attachSocket(socketFd, programFd)
static void AttachSocket(const Napi::CallbackInfo& info) {
  int program = Int(info[1]);
  if (setsockopt(Int(info[0]), SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof(program)) != 0)
    ThrowErrno(info.Env(), errno, "setsockopt(SO_ATTACH_BPF)");
}

void InitNetwork(Napi::Env env, Napi::Object exports) {
  exports.Set("interfaces", Napi::Function::New<Interfaces>(env, "interfaces"));
  exports.Set("xdpAttach", Napi::Function::New<XdpAttach>(env, "xdpAttach"));
  exports.Set("xdpQuery", Napi::Function::New<XdpQuery>(env, "xdpQuery"));
  exports.Set("tcAttach", Napi::Function::New<TcAttach>(env, "tcAttach"));
  exports.Set("tcDetach", Napi::Function::New<TcDetach>(env, "tcDetach"));
  exports.Set("openRawSocket", Napi::Function::New<OpenRawSocket>(env, "openRawSocket"));
  exports.Set("attachSocket", Napi::Function::New<AttachSocket>(env, "attachSocket"));
}

}  // namespace tsbcc
