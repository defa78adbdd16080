#pragma once

#include <cstdint>

namespace tsbcc {

/// Whether the kernel that is compiled for has the helpers bpf_probe_read_kernel and bpf_probe_read_user (Linux 5.5).
enum class ProbeReadHelpers : uint32_t { kAskKernel = 0, kPresent = 1, kAbsent = 2 };

/// To be told before libbcc compiles anything; see kernel_symbols.cc.
void TellProbeReadHelpers(ProbeReadHelpers helpers);

}  // namespace tsbcc
