// SPDX-License-Identifier: MIT
// A quick reader for the simplest YAML, which is what vbd writes into its catalog: block maps and lists of
// words. Whatever else a text has, it leaves to the library, so that there is one meaning and one set of
// messages; tests compare the two. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/config/yaml.hpp"

namespace vbd::config {

/// As parse_yaml, or nothing when this is for the library to say.
[[nodiscard]] std::optional<Node> parse_plain_yaml(std::string_view text, const std::string &name);

}  // namespace vbd::config
