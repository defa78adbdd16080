#include "compiler/shared_tables.h"

#include <fcntl.h>

#include <utility>

namespace tsbcc {

SharedTables::SharedTables(const std::vector<ExportedTable>& exported) : storage_(ebpf::createSharedTableStorage()) {
  for (const ExportedTable& table : exported) {
    // Instructions tell the table by this descriptor; the map itself is not needed to compile.
    ebpf::FileDesc stand_in(open("/dev/null", O_RDONLY | O_CLOEXEC));
    ebpf::TableDesc desc(table.name, std::move(stand_in), static_cast<int>(table.type), table.key_size, table.leaf_size,
                         table.max_entries, static_cast<int>(table.flags));
    desc.key_desc = table.key_desc;
    desc.leaf_desc = table.leaf_desc;
    storage_->Insert(ebpf::Path({table.name}), std::move(desc));
    given_.insert(table.name);
  }
}

bool SharedTables::IsExtern(int fd) const {
  for (auto entry = storage_->begin(), end = storage_->end(); entry != end; ++entry) {
    if (entry->second.fd == fd) return entry->second.is_extern;
  }
  return false;
}

bool SharedTables::IsExported(const std::string& name) const {
  ebpf::TableStorage::iterator found;
  // BPF_TABLE_PUBLIC's place, and BPF_TABLE_SHARED's, which lies in the name space of a program: here the empty one.
  return storage_->Find(ebpf::Path({name}), found) || storage_->Find(ebpf::Path({"ns", "", name}), found);
}

bool SharedTables::Forget(const std::string& name) {
  return given_.erase(name) > 0 && storage_->Delete(ebpf::Path({name}));
}

}  // namespace tsbcc
