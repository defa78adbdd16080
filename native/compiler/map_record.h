#pragma once

#include <string>

namespace tsbcc {

/// What libbcc knows of a map while it compiles, and does not tell afterwards.
struct MapRecord {
  /// The map that is the template of this map of maps; -1 for none.
  int inner_fd = -1;
  /// Where it is to be pinned; empty for nowhere.
  std::string pinned;
};

/// What was seen of a map that was created in this process; see map_record.cc.
const MapRecord& RecordOf(int fd);

}  // namespace tsbcc
