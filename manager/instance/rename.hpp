// SPDX-License-Identifier: MIT
// Another name for an instance. The order: operation, new pointer, directory, record, old pointer; what was
// killed before the directory had its new name is undone, later it is finished. Not thread-safe; safe against
// other processes.
#pragma once

#include <string>

#include "core/base/result.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::instance {

struct RenameSpec {
  std::string from, to;
  bool no_script = false;
};
/// The directory is renamed when it is FILE_STORAGE_DIR/FROM. Then the guest OS definition's rename script
/// runs; its failure is an error, but the instance has its new name.
[[nodiscard]] Result<Plan> rename(const Manager &manager, const RenameSpec &spec, bool dry_run);

/// The names lock is held. Runs no script.
[[nodiscard]] Result<void> settle_rename(const Manager &manager, Work &work);

}  // namespace vbd::instance
