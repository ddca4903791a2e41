// SPDX-License-Identifier: MIT
// Help texts, made from the tables.
#pragma once

#include <span>
#include <string>

#include "cli/grammar.hpp"

namespace vbd::cli {

[[nodiscard]] std::string help_text(std::span<const NounSpec> nouns);
[[nodiscard]] std::string help_text(const NounSpec &noun);
[[nodiscard]] std::string help_text(const NounSpec &noun, const VerbSpec &verb);

}  // namespace vbd::cli
