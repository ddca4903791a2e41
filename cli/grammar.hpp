// SPDX-License-Identifier: MIT
// The command line as data: nouns, verbs, options and arguments, from which parsing, help and completion are
// made. Constant tables with static storage; nothing is built before a verb is chosen.
#pragma once

#include <span>
#include <string_view>

#include "core/base/result.hpp"

namespace vbd::cli {

class Session;
struct Outcome;

enum class Takes { nothing, value, values, count };

/// What completes a value, besides `choices`.
enum class Meaning { text, file, instance, exported, filetype, plugin, verb };

struct OptionSpec {
  std::string_view names;  ///< "-y,--yes": the long one is the key
  Takes takes = Takes::nothing;
  std::string_view meta;  ///< "DIR"
  std::string_view help;
  std::string_view choices = {};  ///< "text|json"
  bool required = false;
  Meaning meaning = Meaning::text;
};

struct ArgumentSpec {
  std::string_view name;  ///< "LOGICAL_ID": also the key
  std::string_view help;
  bool required = true;
  Meaning meaning = Meaning::text;
  bool many = false;  ///< takes all the words that are left, or none; only the last argument
};

struct VerbSpec {
  std::string_view name, summary, details;
  std::span<const OptionSpec> options;
  std::span<const ArgumentSpec> arguments;
  std::span<const std::string_view> examples;
  bool changes = false;       ///< has --dry-run
  bool own_settings = false;  ///< reads the configuration itself
  Result<Outcome> (*run)(Session &) = nullptr;
};

struct NounSpec {
  std::string_view name, summary;
  std::span<const VerbSpec> verbs;
};

/// Every verb has these; --dry-run only those that change something.
[[nodiscard]] std::span<const OptionSpec> global_options();
[[nodiscard]] const OptionSpec &dry_run_option();

/// "yes" of "-y,--yes"; "t" of "-t".
[[nodiscard]] std::string_view key_of(const OptionSpec &option);
/// Is `word` ("--yes", "-y") one of the option's names?
[[nodiscard]] bool has_name(const OptionSpec &option, std::string_view word);

}  // namespace vbd::cli
