// SPDX-License-Identifier: MIT
// What an import is going to do, found out from an export without changing anything: the words of the add
// that makes the instance, and each dump, open and of the length that it must have. Private to this room.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/sys/fd.hpp"
#include "manager/backup/backup.hpp"
#include "manager/os/definition.hpp"

namespace vbd::backup {

/// One disk to be filled.
struct Dump {
  std::size_t index = 0;
  std::string name;  ///< of the file in the export; "" the disk stays empty
  sys::Fd file;
  Content content = Content::raw;
  bool zstd = false;
  std::uint64_t length = 0;  ///< before compression; of a script's dump in a foreign export: the file's
  std::string digest;        ///< "" not known
  /// Content::image that becomes one of another filetype or size: what it is; else it is taken as it is.
  std::optional<Constant> converted_from;
  std::uint64_t size = 0;  ///< of the disk, bytes
};

struct ImportPlan {
  Export source;
  instance::AddSpec add;
  std::optional<os::Definition> definition;  ///< whose import script reads dumps
  std::vector<Dump> dumps;
  Plan lines;  ///< what is done beyond the add
  hypervisor::Brought brought;
};
[[nodiscard]] Result<ImportPlan> plan_import(const Manager &manager, const ImportSpec &spec);

}  // namespace vbd::backup
