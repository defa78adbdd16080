#include "compiler/module.h"

#include <bcc/bcc_version.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <filesystem>
#include <system_error>

#include "common/unique_fd.h"
#include "compiler/map_record.h"
#include "compiler/stderr_silence.h"

namespace tsbcc {

bool ForgetOwnTables(void* module, SharedTables& shared) {
  bool forgotten = false;
  for (size_t id = 0; id < bpf_num_tables(module); ++id) {
    if (!shared.IsExtern(bpf_table_fd_id(module, id))) forgotten |= shared.Forget(bpf_table_name(module, id));
  }
  return forgotten;
}

Module::Module(ModulePtr module, const SharedTables& shared) : module_(std::move(module)), shared_(shared) {
  StderrSilence silence;
  ReadBack();
}

static bool ReadBtfInfo(int fd, bpf_btf_info* info) {
  uint32_t length = sizeof(*info);
  return bpf_obj_get_info_by_fd(fd, info, &length) == 0;
}

/*
 * libbcc has the BTF open and tells nobody the descriptor; by its id the kernel opens it for CAP_SYS_ADMIN alone. So it
 * is looked for among this process's own descriptors.
 */
static std::vector<uint8_t> ReadBtf(uint32_t id) {
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", failure)) {
    if (std::filesystem::read_symlink(entry, failure) != "anon_inode:btf") continue;
    int fd = std::stoi(entry.path().filename());
    bpf_btf_info info = {};
    if (!ReadBtfInfo(fd, &info) || info.id != id) continue;
    std::vector<uint8_t> blob(info.btf_size);
    info = {};
    info.btf = reinterpret_cast<uintptr_t>(blob.data());
    info.btf_size = blob.size();
    if (ReadBtfInfo(fd, &info)) return blob;
  }
  return {};
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

void Module::Write(WireOutput& out) const {
  void* module = module_.get();
  out.Text(LIBBCC_VERSION);
  out.Text(bpf_module_license(module));
  out.Number(bpf_module_kern_version(module));
  out.Number(static_cast<uint32_t>(bpf_num_functions(module)));
  for (size_t id = 0; id < bpf_num_functions(module); ++id) WriteFunction(out, id);
  out.Number(static_cast<uint32_t>(bpf_num_tables(module)));
  for (size_t id = 0; id < bpf_num_tables(module); ++id) WriteTable(out, id);
  out.Bytes(btf_);
}

void Module::WriteFunction(WireOutput& out, size_t id) const {
  void* module = module_.get();
  const DebugRecords& debug = debug_[id];
  out.Text(bpf_function_name(module, id));
  out.Bytes({static_cast<const uint8_t*>(bpf_function_start_id(module, id)), bpf_function_size_id(module, id)});
  out.Bytes(debug.funcs);
  out.Number(debug.func_size);
  out.Bytes(debug.lines);
  out.Number(debug.line_size);
}

void Module::WriteTable(WireOutput& out, size_t id) const {
  void* module = module_.get();
  const char* name = bpf_table_name(module, id);
  int fd = bpf_table_fd_id(module, id);
  bool is_extern = shared_.IsExtern(fd);
  const MapRecord& record = RecordOf(fd);
  out.Text(name);
  out.Number(static_cast<uint32_t>(fd));
  out.Number(is_extern);
  out.Number(!is_extern && shared_.IsExported(name));
  out.Number(static_cast<uint32_t>(record.inner_fd));
  out.Text(record.pinned.c_str());
  out.Number(static_cast<uint32_t>(bpf_table_type_id(module, id)));
  out.Number(static_cast<uint32_t>(bpf_table_key_size_id(module, id)));
  out.Number(static_cast<uint32_t>(bpf_table_leaf_size_id(module, id)));
  out.Number(static_cast<uint32_t>(bpf_table_max_entries_id(module, id)));
  out.Number(static_cast<uint32_t>(bpf_table_flags_id(module, id)));
  out.Text(bpf_table_key_desc_id(module, id));
  out.Text(bpf_table_leaf_desc_id(module, id));
  size_t fields = bpf_perf_event_fields(module, name);
  out.Number(static_cast<uint32_t>(fields));
  for (size_t i = 0; i < fields; ++i) out.Text(bpf_perf_event_field(module, name, i));
}

}  // namespace tsbcc
