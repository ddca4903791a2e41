// SPDX-License-Identifier: MIT
#include "cli/grammar.hpp"

namespace vbd::cli {
namespace {

constexpr OptionSpec kGlobal[] = {
    {"--output", Takes::value, "FORMAT", "print the result as text or as JSON (docs/json.md)", "text|json"},
    {"--config", Takes::value, "FILE", "read only FILE over the built-in defaults", "", false, Meaning::file},
    {"--plugin-dir", Takes::values, "DIR", "look for plugins in DIR first; may be repeated", "", false,
     Meaning::file},
    {"-v,--verbose", Takes::count, "", "say more on stderr; -vv still more"},
    {"--color", Takes::value, "WHEN", "colours: auto is on a terminal without NO_COLOR", "auto|always|never"},
    {"--progress", Takes::value, "WHEN",
     "how far work of more than a second is, on stderr: auto is on a terminal", "auto|never|json"},
    {"-h,--help", Takes::nothing, "", "print help and exit"},
};
constexpr OptionSpec kDryRun = {"--dry-run", Takes::nothing, "",
                                "check everything, print the plan, change nothing"};

}  // namespace

std::span<const OptionSpec> global_options() {
  return kGlobal;
}
const OptionSpec &dry_run_option() {
  return kDryRun;
}

std::string_view key_of(const OptionSpec &option) {
  const std::size_t comma = option.names.rfind(',');
  std::string_view name = comma == std::string_view::npos ? option.names : option.names.substr(comma + 1);
  while (name.starts_with('-')) name.remove_prefix(1);
  return name;
}

bool has_name(const OptionSpec &option, std::string_view word) {
  std::string_view names = option.names;
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    if (names.substr(0, comma) == word) return true;
    names = comma == std::string_view::npos ? std::string_view{} : names.substr(comma + 1);
  }
  return false;
}

}  // namespace vbd::cli
