// SPDX-License-Identifier: MIT
// The words behind noun and verb, checked against the verb's tables. CLI11 is behind it, in parser.cpp alone.
#pragma once

#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/grammar.hpp"

namespace vbd::cli {

inline constexpr ErrorKind kUnknownOption{"usage.option", Exit::usage};
inline constexpr ErrorKind kBadArgument{"usage.argument", Exit::usage};
inline constexpr ErrorKind kBadValue{"usage.value", Exit::usage};

/// A value for messages: printable, and '' when it is empty.
[[nodiscard]] std::string shown(std::string_view value);

/// `rest` as find_words left it. With --help in it nothing else is checked: the result has "help".
[[nodiscard]] Result<Arguments> parse_verb(const NounSpec &noun, const VerbSpec &verb,
                                           const std::vector<std::string> &rest);

}  // namespace vbd::cli
