// SPDX-License-Identifier: MIT
// One noun each, defined in the file of its name.
#pragma once

#include "cli/grammar.hpp"

namespace vbd::cli {

[[nodiscard]] std::span<const VerbSpec> instance_verbs();
[[nodiscard]] std::span<const VerbSpec> node_verbs();
[[nodiscard]] std::span<const VerbSpec> disk_verbs();
[[nodiscard]] std::span<const VerbSpec> backup_verbs();
[[nodiscard]] std::span<const VerbSpec> lease_verbs();
[[nodiscard]] std::span<const VerbSpec> image_verbs();
[[nodiscard]] std::span<const VerbSpec> plugin_verbs();
[[nodiscard]] std::span<const VerbSpec> cluster_verbs();
[[nodiscard]] std::span<const VerbSpec> config_verbs();

}  // namespace vbd::cli
