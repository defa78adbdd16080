#include <bpf/libbpf.h>
#include <napi.h>

#include "common/fd.h"
#include "runtime/btf.h"
#include "runtime/fd_watcher.h"
#include "runtime/link.h"
#include "runtime/map.h"
#include "runtime/network.h"
#include "runtime/perf_reader.h"
#include "runtime/program.h"
#include "runtime/ring_reader.h"
#include "runtime/symbols.h"

namespace tsbcc {

static Napi::Object InitRuntime(Napi::Env env, Napi::Object exports) {
  // libbpf explains itself on stderr by default; here every failure becomes an exception instead.
  libbpf_set_print(nullptr);
  exports.Set("libbpfVersion", libbpf_version_string());
  InitFd(env, exports);
  InitMap(env, exports);
  InitProgram(env, exports);
  InitLink(env, exports);
  InitNetwork(env, exports);
  InitBtf(env, exports);
  InitRingReader(env, exports);
  InitPerfReader(env, exports);
  InitFdWatcher(env, exports);
  InitSymbols(env, exports);
  return exports;
}

}  // namespace tsbcc

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  return tsbcc::InitRuntime(env, exports);
}

NODE_API_MODULE(runtime, Init)
