// SPDX-License-Identifier: MIT
// Verbs of `vbd node` that have a file of their own.
#pragma once

#include "cli/grammar.hpp"

namespace vbd::cli {

[[nodiscard]] VerbSpec node_verify_verb();

}  // namespace vbd::cli
