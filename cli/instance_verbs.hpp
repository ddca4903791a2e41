// SPDX-License-Identifier: MIT
// Verbs of `vbd instance` that have a file of their own.
#pragma once

#include <vector>

#include "cli/grammar.hpp"

namespace vbd::cli {

[[nodiscard]] VerbSpec instance_list_verb();
[[nodiscard]] VerbSpec instance_info_verb();
[[nodiscard]] VerbSpec instance_config_verb();
[[nodiscard]] VerbSpec instance_grow_disk_verb();
[[nodiscard]] VerbSpec instance_activate_disks_verb();
[[nodiscard]] VerbSpec instance_deactivate_disks_verb();
[[nodiscard]] VerbSpec instance_replace_disks_verb();
[[nodiscard]] VerbSpec instance_modify_verb();
[[nodiscard]] VerbSpec instance_register_verb();
[[nodiscard]] VerbSpec instance_reinstall_verb();
[[nodiscard]] VerbSpec instance_rename_verb();

/// start, stop, reboot and their other names.
[[nodiscard]] std::vector<VerbSpec> instance_live_verbs();

}  // namespace vbd::cli
