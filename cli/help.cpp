// SPDX-License-Identifier: MIT
#include "cli/help.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/text.hpp"

namespace vbd::cli {
namespace {

using Rows = std::vector<std::pair<std::string, std::string>>;

constexpr std::size_t kColumns = 110;

/// Words over as many lines as they need, all but the first behind `indent` blanks.
std::string wrapped(const std::string &text, std::size_t indent) {
  std::string out;
  std::size_t column = indent;
  for (const std::string &word : text::split(text, ' ')) {
    if (column > indent && column + 1 + word.size() > kColumns) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

std::string table(const Rows &rows) {
  constexpr std::size_t kWidest = 30;  // a longer left side gets a line of its own
  std::size_t width = 0;
  for (const auto &[left, right] : rows) width = std::max(width, std::min(left.size(), kWidest));
  std::string out;
  for (const auto &[left, right] : rows) {
    out += "  " + left;
    if (left.size() > width) out += "\n  " + std::string(width, ' ');
    if (left.size() <= width) out += std::string(width - left.size(), ' ');
    out += "  " + wrapped(right, width + 4) + "\n";
  }
  return out;
}

std::pair<std::string, std::string> row_of(const OptionSpec &option) {
  std::string left = text::join(text::split(option.names, ','), ", ");
  if (left.starts_with("--")) left.insert(0, "    ");
  if (!option.meta.empty()) left += text::cat(" ", option.choices.empty() ? option.meta : option.choices);
  return {std::move(left), std::string(option.help)};
}

std::string usage(const NounSpec &noun, const VerbSpec &verb) {
  std::string out = text::cat("usage: vbd ", noun.name, " ", verb.name);
  for (const OptionSpec &option : verb.options) {
    if (option.required) out += text::cat(" --", key_of(option), " ", option.meta);
  }
  out += " [options]";
  for (const ArgumentSpec &argument : verb.arguments) {
    const std::string name = text::cat(argument.name, argument.many ? "..." : "");
    out += argument.required ? text::cat(" ", name) : text::cat(" [", name, "]");
  }
  return out + "\n";
}

constexpr std::string_view kExitCodes =
    "exit codes:\n"
    "  0  done\n"
    "  1  failed: input or output, no space, a helper failed or is missing\n"
    "  2  usage or configuration\n"
    "  3  not found: image, instance, plugin, node\n"
    "  4  busy: in use, locked, exists already\n"
    "  5  refused by policy, or not supported\n"
    "  6  image damaged or hostile\n";

}  // namespace

std::string help_text(std::span<const NounSpec> nouns) {
  Rows rows, options;
  for (const NounSpec &noun : nouns) rows.emplace_back(noun.name, noun.summary);
  for (const OptionSpec &option : global_options()) options.push_back(row_of(option));
  options.push_back(row_of({"--version", Takes::nothing, "", "print the version and exit"}));
  return text::cat(
      "usage: vbd NOUN VERB [options]\n\nDisks of virtual machines as image files, on any filesystem, for "
      "any hypervisor.\n\nnouns:\n",
      table(rows), "\ncommon options:\n", table(options), "\n", kExitCodes,
      "\nmore: vbd help NOUN, vbd NOUN VERB --help\n");
}

std::string help_text(const NounSpec &noun) {
  Rows rows;
  for (const VerbSpec &verb : noun.verbs) rows.emplace_back(verb.name, verb.summary);
  return text::cat("usage: vbd ", noun.name, " VERB [options]\n\n", noun.summary, "\n\nverbs:\n", table(rows),
                   "\nmore: vbd ", noun.name, " VERB --help\n");
}

std::string help_text(const NounSpec &noun, const VerbSpec &verb) {
  std::string out =
      usage(noun, verb) + text::cat("\n", verb.details.empty() ? verb.summary : verb.details, "\n");
  Rows arguments, own, common;
  for (const ArgumentSpec &argument : verb.arguments) arguments.emplace_back(argument.name, argument.help);
  for (const OptionSpec &option : verb.options) own.push_back(row_of(option));
  if (verb.changes) own.push_back(row_of(dry_run_option()));
  for (const OptionSpec &option : global_options()) common.push_back(row_of(option));
  if (!arguments.empty()) out += "\narguments:\n" + table(arguments);
  if (!own.empty()) out += "\noptions:\n" + table(own);
  out += "\ncommon options:\n" + table(common) + "\nexamples:\n";
  for (const std::string_view example : verb.examples) out += text::cat("  ", example, "\n");
  return out;
}

}  // namespace vbd::cli
