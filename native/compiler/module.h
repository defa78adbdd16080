#pragma once

#include <bcc/bcc_common.h>
#include <napi.h>

#include <memory>
#include <string>
#include <vector>

namespace tsbcc {

struct ModuleDestroy {
  void operator()(void* module) const { bpf_module_destroy(module); }
};
using ModulePtr = std::unique_ptr<void, ModuleDestroy>;

/// The debug information of one function: records of struct bpf_func_info and bpf_line_info.
struct DebugRecords {
  std::vector<uint8_t> funcs;
  std::vector<uint8_t> lines;
  uint32_t func_size = 0;
  uint32_t line_size = 0;
};

/// A compiled module. libbcc creates its maps while compiling; they live as long as this does.
class Module : public Napi::ObjectWrap<Module> {
 public:
  static Napi::Function Define(Napi::Env env);
  explicit Module(const Napi::CallbackInfo& info);

  /// Takes what the compiler made; reads BTF and debug records back at once.
  void Adopt(ModulePtr module);

 private:
  Napi::Value License(const Napi::CallbackInfo& info);
  Napi::Value KernVersion(const Napi::CallbackInfo& info);
  Napi::Value Functions(const Napi::CallbackInfo& info);
  Napi::Value Tables(const Napi::CallbackInfo& info);
  Napi::Value Btf(const Napi::CallbackInfo& info);
  void Close(const Napi::CallbackInfo& info);
  void* Open(Napi::Env env) const;
  void ReadBack();

  ModulePtr module_;
  std::vector<DebugRecords> debug_;
  std::vector<uint8_t> btf_;
};

}  // namespace tsbcc
