#include "compiler/kernel_symbols.h"

#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <linux/bpf.h>

#include <cstdio>
#include <string_view>

/*
 * libbcc reads all of /proc/kallsyms, some 200,000 lines that the kernel writes for each reader anew, to learn whether
 * two helpers are there: a quarter of the time that a small program takes to compile. So its fopen is this one, and
 * /proc/kallsyms holds the few lines that it looks for. They are also true of the kernel that is compiled for, where
 * that is not the running one, and where the running one hides its symbols' addresses.
 */

namespace tsbcc {

static ProbeReadHelpers known = ProbeReadHelpers::kAskKernel;

void TellProbeReadHelpers(ProbeReadHelpers helpers) {
  known = helpers;
}

static constexpr std::string_view kBefore =
    "ffffffff81000001 T bpf_probe_read\n"
    "ffffffff81000002 T bpf_probe_read_str\n";
static constexpr std::string_view kSince =
    "ffffffff81000001 T bpf_probe_read\n"
    "ffffffff81000002 T bpf_probe_read_str\n"
    "ffffffff81000003 T bpf_probe_read_kernel\n"
    "ffffffff81000004 T bpf_probe_read_kernel_str\n"
    "ffffffff81000005 T bpf_probe_read_user\n"
    "ffffffff81000006 T bpf_probe_read_user_str\n";

/// Null where the kernel would not tell: the real file is to be read then.
static FILE* OpenSymbols() {
  if (known == ProbeReadHelpers::kAskKernel &&
      libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_probe_read_kernel, nullptr) == 1)
    known = ProbeReadHelpers::kPresent;
  if (known == ProbeReadHelpers::kAskKernel) return nullptr;
  std::string_view text = known == ProbeReadHelpers::kPresent ? kSince : kBefore;
  return fmemopen(const_cast<char*>(text.data()), text.size(), "r");
}

static FILE* Open(const char* name, const char* path, const char* mode) {
  if (std::string_view(path) == "/proc/kallsyms") {
    if (FILE* symbols = OpenSymbols()) return symbols;
  }
  auto real = reinterpret_cast<FILE* (*)(const char*, const char*)>(dlsym(RTLD_NEXT, name));
  return real(path, mode);
}

}  // namespace tsbcc

// Named by hand: which of the two names "fopen" stands for in C depends on how this file is compiled, not libbcc.
#define TSBCC_EXPORT(name) __asm__(name) __attribute__((visibility("default")))
extern "C" FILE* TsbccFopen(const char* path, const char* mode) TSBCC_EXPORT("fopen");
extern "C" FILE* TsbccFopen64(const char* path, const char* mode) TSBCC_EXPORT("fopen64");

FILE* TsbccFopen(const char* path, const char* mode) {
  return tsbcc::Open("fopen", path, mode);
}

FILE* TsbccFopen64(const char* path, const char* mode) {
  return tsbcc::Open("fopen64", path, mode);
}
