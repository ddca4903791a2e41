// SPDX-License-Identifier: MIT
// Temporary files (files.hpp) that a killed run left. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.hpp"

namespace vbd::sys {

/// Names in the directory that are ours: by their form, by their owner (this user, or `owner`), regular, and
/// locked by no living process. Where locks may not reach other hosts, only what was not written to for an
/// hour.
[[nodiscard]] Result<std::vector<std::string>> left_temp_files(int directory, std::int64_t owner);
/// One of them, unless somebody has it open: kInUse.
[[nodiscard]] Result<void> remove_left_file(int directory, const std::string &name);

}  // namespace vbd::sys
