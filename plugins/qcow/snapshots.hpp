// SPDX-License-Identifier: MIT
// The table of internal snapshots of versions 2 and 3: read and checked entry by entry, never held as a
// whole.
#pragma once

#include <functional>
#include <string>

#include "header.hpp"

namespace vbdkit::qcow {

struct Snapshot {
  uint64_t l1_offset = 0;
  uint32_t l1_entries = 0;
  uint32_t seconds = 0;  ///< since the epoch
  uint64_t vm_state_size = 0;
  uint64_t disk_size = 0;  ///< 0: not recorded (version 2)
  std::string id, name;
};

/// Calls `each` for every snapshot until it returns something else than VBD_OK, which is then the result.
/// `table_bytes` (may be null) gets the length of the table.
[[nodiscard]] Status for_each_snapshot(const File &file, const Header &header, uint64_t *table_bytes,
                                       vbd_error *err, const std::function<Status(const Snapshot &)> &each);

}  // namespace vbdkit::qcow
