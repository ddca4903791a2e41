// SPDX-License-Identifier: MIT
// Exports as text or as JSON. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "cli/outcome.hpp"
#include "manager/backup/backup.hpp"

namespace vbd::cli::report {

/// vbdkit.backup/1
[[nodiscard]] Outcome exported(bool json, const backup::Exported &done);

struct ExportsLook {
  bool no_headers = false;
  std::string separator;
  bool color = false;
};
/// vbdkit.backups/1
[[nodiscard]] Outcome exports(bool json, const std::vector<backup::Listed> &list, const ExportsLook &look);

}  // namespace vbd::cli::report
