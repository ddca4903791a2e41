// SPDX-License-Identifier: MIT
// Finds the noun and the verb among the words of a command line, options anywhere.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/grammar.hpp"

namespace vbd::cli {

inline constexpr ErrorKind kUnknownNoun{"usage.noun", Exit::usage};
inline constexpr ErrorKind kUnknownVerb{"usage.verb", Exit::usage};

struct Words {
  const NounSpec *noun = nullptr;
  const VerbSpec *verb = nullptr;
  std::vector<std::string> rest;  ///< all words but the noun and the verb
  bool help = false;              ///< "help" stood for the noun or the verb, or --help without a verb
};

/// Unknown ones are refused with the nearest; a missing noun or verb is refused unless help is wanted.
[[nodiscard]] Result<Words> find_words(std::span<const NounSpec> nouns, const std::vector<std::string> &args);

/// The option that `word` names among the global ones and those of the noun and verb so far; else nullptr.
[[nodiscard]] const OptionSpec *find_option(std::span<const NounSpec> nouns, const Words &words,
                                            std::string_view word);

/// Names, for messages and completion.
[[nodiscard]] std::vector<std::string> noun_names(std::span<const NounSpec> nouns);
[[nodiscard]] std::vector<std::string> verb_names(const NounSpec &noun);

}  // namespace vbd::cli
