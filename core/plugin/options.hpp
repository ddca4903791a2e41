// SPDX-License-Identifier: MIT
// Options of plugins: values checked against the plugin's own table. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"

namespace vbd::plugin {

inline constexpr ErrorKind kUnknownOption{"option.unknown", Exit::usage};
inline constexpr ErrorKind kBadOption{"option.value", Exit::usage};
inline constexpr ErrorKind kMissingOption{"option.missing", Exit::usage};

struct OptionInfo {
  std::string name, help, default_value, choices;
  bool has_default = false, required = false, secret = false, per_image = false, create_only = false;
  std::uint32_t type = 0;  ///< VBD_T_*
  std::uint64_t min = 0, max = 0;
  [[nodiscard]] std::string type_text() const;  ///< "size 512..2M", "auto|qsd", "bool"
};

using Values = std::map<std::string, std::string>;

/// The value in the form that the plugin gets ("true", decimal bytes). `where` begins the error.
[[nodiscard]] Result<std::string> check_option(const OptionInfo &option, const std::string &value,
                                               const std::string &where);
[[nodiscard]] const OptionInfo *find_option(const std::vector<OptionInfo> &table, std::string_view name);
/// Finds the option by name (kUnknownOption suggests the nearest) and checks it.
[[nodiscard]] Result<std::string> check_named(const std::vector<OptionInfo> &table, const std::string &name,
                                              const std::string &value, const std::string &where);

}  // namespace vbd::plugin
