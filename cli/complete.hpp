// SPDX-License-Identifier: MIT
// What may come next on a command line, for shells: `vbd __complete WORD...` prints candidates for the last
// word, one a line; nothing where a file name is wanted. Runs no plugin and says no errors.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/grammar.hpp"

namespace vbd::cli {

[[nodiscard]] std::string complete(std::span<const NounSpec> nouns, std::vector<std::string> words);

}  // namespace vbd::cli
