/*
 * What the headers of Linux 6.12 want of uapi/linux/bpf.h and the bpf.h inside libbcc 0.26 does not have yet: without it
 * no program that includes net/sock.h compiles with those headers. Only sizes and being there count.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define BPF_ADDR_SPACE_CAST 1
enum {
  BPF_CGROUP_UNIX_CONNECT = 49,
  BPF_CGROUP_UNIX_SENDMSG,
  BPF_CGROUP_UNIX_RECVMSG,
  BPF_CGROUP_UNIX_GETPEERNAME,
  BPF_CGROUP_UNIX_GETSOCKNAME,
};
struct bpf_wq {
  __u64 opaque[2];
};
struct bpf_rb_root {
  __u64 opaque[2];
};
struct bpf_rb_node {
  __u64 opaque[4];
};
struct bpf_refcount {
  __u32 opaque[1];
};
#endif
