// SPDX-License-Identifier: MIT
// The files of Python's configparser.ConfigParser with its defaults, as far as exports need them: what this
// writes Python reads as the same, and the other way round. Pure functions over text.
//
// The rules (Python library reference, configparser): keys are lower case; `=` or `:` between key and value,
// white space around both goes; `#` and `;` begin a comment at the start of a line only; an indented line
// goes on with the value before it; a section or a key that stands twice is an error; `%` is written `%%`,
// and
// `%(name)s` would insert another value, which exports don't have: refused.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"

namespace vbd::backup {

/// What can't be read, can't be true or was changed: 6, as for an image.
inline constexpr ErrorKind kDamaged{"backup.damaged", Exit::damaged};
/// A value that the file can't carry.
inline constexpr ErrorKind kCannotCarry{"backup.value", Exit::refused};

class Ini {
 public:
  using Entries = std::vector<std::pair<std::string, std::string>>;

  /// `file` begins the error's message: "FILE:LINE: ...".
  [[nodiscard]] static Result<Ini> parse(std::string_view text, const std::string &file);

  /// Null when there is none.
  [[nodiscard]] const Entries *section(std::string_view name) const;
  /// Nothing when the key is not there or the value is "none" in any case, which Ganeti reads as unset.
  [[nodiscard]] std::optional<std::string> get(std::string_view section, std::string_view key) const;

  /// The section is made when it is missing; keys are not looked for again.
  void add_section(std::string_view name);
  void add(std::string_view section, std::string_view key, std::string_view value);
  /// kCannotCarry for a key or a value that would not come back as it is.
  [[nodiscard]] Result<std::string> str() const;

 private:
  Entries &entries_of(std::string_view name);
  std::vector<std::pair<std::string, Entries>> sections_;
};

}  // namespace vbd::backup
