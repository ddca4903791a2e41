// SPDX-License-Identifier: MIT
// parse_yaml without its quick way, to compare the two.
#pragma once

#include "core/config/yaml.hpp"

namespace vbd::config {

[[nodiscard]] Result<Node> parse_library_yaml(std::string_view text, const std::string &name);

}  // namespace vbd::config
