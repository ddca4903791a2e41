// SPDX-License-Identifier: MIT
// The manual page vbd(1) as scdoc source, made of the same tables as --help, so that the two can't differ:
// `vbd __manual` prints it, the build turns it into roff.
#pragma once

#include <span>
#include <string>

#include "cli/grammar.hpp"

namespace vbd::cli {

[[nodiscard]] std::string manual(std::span<const NounSpec> nouns);

}  // namespace vbd::cli
