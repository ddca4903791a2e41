// SPDX-License-Identifier: MIT
// Finds the payload of the identity note in an ELF file, with every number of the file checked before use, so
// that a damaged or hostile file is an error and nothing else. Thread-safe.
#pragma once

#include <string>

#include "core/base/result.hpp"

namespace vbd::plugin {

/// kNotElf, kWrongMachine, kTruncated (also where the file ends before what the loader would map), kNoNote,
/// kBadNote (over a limit, or two notes).
[[nodiscard]] Result<std::string> find_note(int fd, const std::string &path);

}  // namespace vbd::plugin
