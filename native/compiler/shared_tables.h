#pragma once

#include <bcc/table_storage.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace tsbcc {

/// A table that a program of the asking process exports, as libbcc wants to know it.
struct ExportedTable {
  std::string name;
  uint32_t type;
  uint32_t key_size;
  uint32_t leaf_size;
  uint32_t max_entries;
  uint32_t flags;
  std::string key_desc;
  std::string leaf_desc;
};

/*
 * libbcc's list of the tables that the programs of one process share. Here it holds what the asking process's programs
 * export, by which "extern" is resolved, and shows what a program that was compiled exports itself: macros are libbcc's
 * to expand.
 */
class SharedTables {
 public:
  explicit SharedTables(const std::vector<ExportedTable>& exported);

  /// Whether the map that libbcc calls `fd` is another program's.
  bool IsExtern(int fd) const;

  /// Whether a program may find the table of a compiled one under its name.
  bool IsExported(const std::string& name) const;

  /// Takes away what was exported as `name`, as long as it is there: libbcc keeps the first table of a name, and would
  /// not show a second one.
  bool Forget(const std::string& name);

 private:
  std::unique_ptr<ebpf::TableStorage> storage_;
  std::set<std::string> given_;
};

}  // namespace tsbcc
