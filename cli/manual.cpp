// SPDX-License-Identifier: MIT
// scdoc(5): '_' and '*' format, '\' escapes, a tab indents, '|' begins a table cell.
#include "cli/manual.hpp"

#include "core/base/text.hpp"

namespace vbd::cli {
namespace {

/// Text as it is: what scdoc takes for formatting is escaped.
std::string plain(std::string_view words) {
  std::string out;
  for (const char c : words) {
    if (std::string_view("\\_*<>[]#|").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string option_entry(const OptionSpec &option) {
  std::string names;
  for (const std::string &name : text::split(option.names, ',')) {
    names += text::cat(names.empty() ? "" : ", ", "*", plain(name), "*");
  }
  if (!option.meta.empty()) {
    names += text::cat(" ", plain(option.choices.empty() ? option.meta : option.choices));
  }
  return text::cat(names, "\n\t", plain(option.help), "\n\n");
}

std::string verb_section(const NounSpec &noun, const VerbSpec &verb) {
  std::string out = text::cat("## vbd ", noun.name, " ", verb.name);
  for (const ArgumentSpec &argument : verb.arguments) {
    const std::string name = text::cat(plain(argument.name), argument.many ? "..." : "");
    out += argument.required ? text::cat(" ", name) : text::cat(" ", plain("["), name, plain("]"));
  }
  out += text::cat("\n\n", plain(verb.details.empty() ? verb.summary : verb.details), "\n\n");
  for (const ArgumentSpec &argument : verb.arguments) {
    out += text::cat("*", plain(argument.name), "*\n\t", plain(argument.help), "\n\n");
  }
  for (const OptionSpec &option : verb.options) out += option_entry(option);
  if (verb.changes) out += option_entry(dry_run_option());
  out += "```\n";
  for (const std::string_view example : verb.examples) out += text::cat(example, "\n");
  return out + "```\n\n";
}

constexpr std::string_view kHead =
    "vbd(1)\n\n# NAME\n\nvbd - disks of virtual machines as image files, for any hypervisor\n\n# SYNOPSIS\n\n"
    "*vbd* NOUN VERB \\[options\\]\n\n# DESCRIPTION\n\n"
    "Every disk has a logical\\_id: driver, filetype and full path, as in \\[FD\\_LOOP, FT\\_RAW, "
    "\"/srv/sda\"\\]. Drivers and "
    "filetypes are plugins. The result goes to standard output, everything else to standard error.\n\n"
    "# COMMON OPTIONS\n\n";

constexpr std::string_view kTail =
    "# EXIT STATUS\n\n"
    "*0*\n\tdone\n\n*1*\n\tfailed: input or output, no space, a helper failed or is missing\n\n*2*\n\tusage "
    "or "
    "configuration\n\n*3*\n\tnot found: image, instance, plugin, node\n\n*4*\n\tbusy: in use, locked, exists "
    "already\n\n*5*\n\trefused by policy, or not supported\n\n*6*\n\timage damaged or hostile\n\n"
    "# FILES\n\n_/etc/vbdkit/vbdkit.yaml_, _/etc/vbdkit/conf.d/_\n\tconfiguration\n\n_/run/vbdkit_\n\twhat "
    "is attached "
    "now\n\n_/var/lib/vbdkit_\n\twhere instances are\n\n"
    "# SEE ALSO\n\n*vbdkit-fd-loop*(7), *vbdkit-fd-blktap*(7), *vbdkit-ft-raw*(7), *vbdkit-ft-qcow*(7)\n";

}  // namespace

std::string manual(std::span<const NounSpec> nouns) {
  std::string out(kHead);
  for (const OptionSpec &option : global_options()) out += option_entry(option);
  out += option_entry({"--version", Takes::nothing, "", "print the version and exit"});
  for (const NounSpec &noun : nouns) {
    out += text::cat("# ", text::upper(noun.name), "\n\n", plain(noun.summary), "\n\n");
    for (const VerbSpec &verb : noun.verbs) out += verb_section(noun, verb);
  }
  return out + std::string(kTail);
}

}  // namespace vbd::cli
