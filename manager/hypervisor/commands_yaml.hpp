// SPDX-License-Identifier: MIT
// The key `commands` of a profile. Private to this room.
#pragma once

#include "core/config/yaml.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::hypervisor {

/// Checked: what a guest of this kind can't do without is there.
[[nodiscard]] Result<void> read_commands(const config::Node &node, Commands &commands);

/// Whether `word` stands in a command that is given to a guest.
[[nodiscard]] bool says_word(const Commands &commands, std::string_view word);

}  // namespace vbd::hypervisor
