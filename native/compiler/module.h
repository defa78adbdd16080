#pragma once

#include <bcc/bcc_common.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "compiler/shared_tables.h"
#include "compiler/wire.h"

namespace tsbcc {

struct ModuleDestroy {
  void operator()(void* module) const { bpf_module_destroy(module); }
};
using ModulePtr = std::unique_ptr<void, ModuleDestroy>;

/// A program's own tables hide those of other programs that have their names. Whether there were any: then the program
/// must be compiled again, to see which of its own it exports.
bool ForgetOwnTables(void* module, SharedTables& shared);

/// The debug information of one function: records of struct bpf_func_info and bpf_line_info.
struct DebugRecords {
  std::vector<uint8_t> funcs;
  std::vector<uint8_t> lines;
  uint32_t func_size = 0;
  uint32_t line_size = 0;
};

/// A compiled module, to be told as plain data. libbcc creates its maps while compiling; they live as long as this
/// does.
class Module {
 public:
  /// Reads BTF and debug records back from the kernel at once. `shared` must outlive this.
  Module(ModulePtr module, const SharedTables& shared);

  /// Everything that compilation yielded.
  void Write(WireOutput& out) const;

 private:
  void WriteFunction(WireOutput& out, size_t id) const;
  void WriteTable(WireOutput& out, size_t id) const;
  void ReadBack();

  ModulePtr module_;
  const SharedTables& shared_;
  std::vector<DebugRecords> debug_;
  std::vector<uint8_t> btf_;
};

}  // namespace tsbcc
