#include <bcc/bcc_version.h>
#include <bpf/libbpf.h>
#include <napi.h>

#include <mutex>

#include "common/args.h"
#include "compiler/module.h"

namespace tsbcc {

struct CompilerData {
  Napi::FunctionReference module;
};

/// libbcc and clang keep global state: one compilation at a time in a process, whichever worker thread asks.
static std::mutex& CompilerLock() {
  static std::mutex lock;
  return lock;
}

/// compile(text, cflags, debug, allowRlimit, device)
static Napi::Value Compile(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string text = String(info[0]);
  auto given = info[1].As<Napi::Array>();
  std::vector<std::string> flags;
  for (uint32_t i = 0; i < given.Length(); ++i) flags.push_back(String(given.Get(i)));
  std::vector<const char*> cflags;
  for (const std::string& flag : flags) cflags.push_back(flag.c_str());
  unsigned debug = Uint(info[2]);
  bool allow_rlimit = info[3].ToBoolean();
  std::string device = info[4].IsString() ? String(info[4]) : std::string();

  Napi::Object wrapped = env.GetInstanceData<CompilerData>()->module.New({});
  std::scoped_lock lock(CompilerLock());
  ModulePtr module(bpf_module_create_c_from_string(text.c_str(), debug, cflags.data(), static_cast<int>(cflags.size()),
                                                   allow_rlimit, device.empty() ? nullptr : device.c_str()));
  if (!module) return env.Undefined();
  Module::Unwrap(wrapped)->Adopt(std::move(module));
  return wrapped;
}

static Napi::Object InitCompiler(Napi::Env env, Napi::Object exports) {
  auto* data = new CompilerData{Napi::Persistent(Module::Define(env))};
  env.SetInstanceData(data);
  exports.Set("libbccVersion", LIBBCC_VERSION);
  exports.Set("compile", Napi::Function::New<Compile>(env, "compile"));
  return exports;
}

}  // namespace tsbcc

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  return tsbcc::InitCompiler(env, exports);
}

NODE_API_MODULE(compiler, Init)
