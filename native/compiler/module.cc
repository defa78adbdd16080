#include "compiler/module.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include "common/args.h"
#include "common/unique_fd.h"
#include "compiler/stderr_silence.h"

namespace tsbcc {

Napi::Function Module::Define(Napi::Env env) {
  return DefineClass(
      env, "Module",
      {InstanceAccessor<&Module::License>("license"), InstanceAccessor<&Module::KernVersion>("kernVersion"),
       InstanceMethod<&Module::Functions>("functions"), InstanceMethod<&Module::Tables>("tables"),
       InstanceMethod<&Module::Btf>("btf"), InstanceMethod<&Module::Close>("close")});
}

Module::Module(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

void Module::Adopt(ModulePtr module) {
  module_ = std::move(module);
  StderrSilence silence;
  ReadBack();
}

void* Module::Open(Napi::Env env) const {
  if (!module_) throw Napi::Error::New(env, "the module is closed");
  return module_.get();
}

static std::vector<uint8_t> ReadBtf(uint32_t id) {
  UniqueFd fd(bpf_btf_get_fd_by_id(id));
  bpf_btf_info info = {};
  uint32_t length = sizeof(info);
  if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &length) != 0) return {};
  std::vector<uint8_t> blob(info.btf_size);
  info = {};
  info.btf = reinterpret_cast<uintptr_t>(blob.data());
  info.btf_size = blob.size();
  length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd.get(), &info, &length) != 0) return {};
  return blob;
}

static DebugRecords ReadDebugRecords(int program, uint32_t* btf_id) {
  bpf_prog_info sizes = {};
  uint32_t length = sizeof(sizes);
  if (bpf_obj_get_info_by_fd(program, &sizes, &length) != 0) return {};
  *btf_id = sizes.btf_id;

  DebugRecords records;
  records.func_size = sizes.func_info_rec_size;
  records.line_size = sizes.line_info_rec_size;
  records.funcs.resize(size_t{sizes.nr_func_info} * records.func_size);
  records.lines.resize(size_t{sizes.nr_line_info} * records.line_size);
  bpf_prog_info info = {};
  info.nr_func_info = sizes.nr_func_info;
  info.func_info_rec_size = records.func_size;
  info.func_info = reinterpret_cast<uintptr_t>(records.funcs.data());
  info.nr_line_info = sizes.nr_line_info;
  info.line_info_rec_size = records.line_size;
  info.line_info = reinterpret_cast<uintptr_t>(records.lines.data());
  length = sizeof(info);
  if (bpf_obj_get_info_by_fd(program, &info, &length) != 0) return {};
  return records;
}

/*
 * libbcc keeps BTF, function and line records to itself and hands them to the kernel when a function is loaded. So a
 * harmless stand-in is loaded under each function's name: as many instructions, all of them `r0 = 0` and the last one
 * `exit`, which any kernel accepts whatever the real function does; and the kernel is asked what came with it.
 */
void Module::ReadBack() {
  void* module = module_.get();
  uint32_t btf_id = 0;
  for (size_t id = 0; id < bpf_num_functions(module); ++id) {
    std::vector<bpf_insn> stand_in(
        bpf_function_size_id(module, id) / sizeof(bpf_insn),
        bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0});
    if (!stand_in.empty())
      stand_in.back() = bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
    UniqueFd program(bcc_func_load(module, BPF_PROG_TYPE_SOCKET_FILTER, bpf_function_name(module, id), stand_in.data(),
                                   static_cast<int>(stand_in.size() * sizeof(bpf_insn)), "GPL",
                                   bpf_module_kern_version(module), 0, nullptr, 0, nullptr, -1));
    debug_.push_back(program ? ReadDebugRecords(program.get(), &btf_id) : DebugRecords{});
  }
  // A program without functions has its BTF at its tables only.
  for (size_t id = 0; btf_id == 0 && id < bpf_num_tables(module); ++id) {
    bpf_map_info map = {};
    uint32_t length = sizeof(map);
    if (bpf_obj_get_info_by_fd(bpf_table_fd_id(module, id), &map, &length) == 0) btf_id = map.btf_id;
  }
  if (btf_id != 0) btf_ = ReadBtf(btf_id);
}

Napi::Value Module::License(const Napi::CallbackInfo& info) {
  const char* license = bpf_module_license(Open(info.Env()));
  return Napi::String::New(info.Env(), license ? license : "");
}

Napi::Value Module::KernVersion(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), bpf_module_kern_version(Open(info.Env())));
}

Napi::Value Module::Functions(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  void* module = Open(env);
  auto functions = Napi::Array::New(env);
  for (size_t id = 0; id < bpf_num_functions(module); ++id) {
    const DebugRecords& debug = debug_[id];
    auto function = Napi::Object::New(env);
    function.Set("name", bpf_function_name(module, id));
    function.Set("insns", CopyBytes(env, bpf_function_start_id(module, id), bpf_function_size_id(module, id)));
    function.Set("funcInfo", CopyBytes(env, debug.funcs.data(), debug.funcs.size()));
    function.Set("funcInfoRecSize", debug.func_size);
    function.Set("lineInfo", CopyBytes(env, debug.lines.data(), debug.lines.size()));
    function.Set("lineInfoRecSize", debug.line_size);
    functions.Set(functions.Length(), function);
  }
  return functions;
}

static const char* OrEmpty(const char* text) {
  return text ? text : "";
}

Napi::Value Module::Tables(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  void* module = Open(env);
  auto tables = Napi::Array::New(env);
  for (size_t id = 0; id < bpf_num_tables(module); ++id) {
    const char* name = bpf_table_name(module, id);
    auto fields = Napi::Array::New(env);
    for (size_t i = 0; i < bpf_perf_event_fields(module, name); ++i)
      fields.Set(i, OrEmpty(bpf_perf_event_field(module, name, i)));
    auto table = Napi::Object::New(env);
    table.Set("name", name);
    table.Set("fd", bpf_table_fd_id(module, id));
    table.Set("type", bpf_table_type_id(module, id));
    table.Set("keySize", static_cast<double>(bpf_table_key_size_id(module, id)));
    table.Set("leafSize", static_cast<double>(bpf_table_leaf_size_id(module, id)));
    table.Set("maxEntries", static_cast<double>(bpf_table_max_entries_id(module, id)));
    table.Set("flags", bpf_table_flags_id(module, id));
    table.Set("keyDesc", OrEmpty(bpf_table_key_desc_id(module, id)));
    table.Set("leafDesc", OrEmpty(bpf_table_leaf_desc_id(module, id)));
    table.Set("eventFields", fields);
    tables.Set(tables.Length(), table);
  }
  return tables;
}

Napi::Value Module::Btf(const Napi::CallbackInfo& info) {
  return CopyBytes(info.Env(), btf_.data(), btf_.size());
}

void Module::Close(const Napi::CallbackInfo&) {
  module_.reset();
}

}  // namespace tsbcc
