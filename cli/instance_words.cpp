// SPDX-License-Identifier: MIT
#include "cli/instance_words.hpp"

#include "cli/parser.hpp"
#include "core/base/text.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::cli {
namespace {

using TextMap = std::map<std::string, std::string>;

/// "a=b,c=d"; a backslash keeps the character after it, as gnt-instance(8) has it for commas.
std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      words.back() += text[++i];
    } else if (text[i] == ',') {
      words.emplace_back();
    } else {
      words.back() += text[i];
    }
  }
  return words;
}

Result<void> read_pairs(const std::string &option, std::string_view text, TextMap &out) {
  for (const std::string &word : split_words(text)) {
    const std::size_t equals = word.find('=');
    const std::string shown = text::cat(option, " ", text::printable(word));
    if (equals == std::string::npos || equals == 0) return Error{kBadValue, shown + ": not KEY=VALUE"};
    // instance.yaml could not carry it.
    if (!text::is_printable_utf8(word))
      return Error{kBadValue, shown + ": a control character, or not UTF-8"};
    if (!out.emplace(word.substr(0, equals), word.substr(equals + 1)).second) {
      return Error{kBadValue, shown + ": the key is given twice"};
    }
  }
  return {};
}

Result<void> read_all(const Arguments &arguments, std::string_view key, const std::string &option,
                      TextMap &out) {
  for (const std::string &value : arguments.values(key)) {
    if (auto done = read_pairs(option, value, out); !done) return done;
  }
  return {};
}

/// "xen-pvm:kernel=/k": the part before the colon must mean the configured hypervisor.
Result<void> read_hypervisor(const Arguments &arguments, const config::Settings &settings, TextMap &out) {
  for (const std::string &value : arguments.values("hypervisor-parameters")) {
    std::string_view text = value;
    const std::size_t colon = text.find(':');
    if (colon != std::string_view::npos && colon < text.find('=')) {
      const std::string_view name = text.substr(0, colon);
      const std::string profile = hypervisor::short_name(settings.hypervisor);
      if (name != settings.hypervisor && name != profile && !name.starts_with(profile + "-")) {
        return Error{kBadValue,
                     text::cat("-H ", text::printable(name), ": the configured hypervisor is ", profile),
                     "change 'hypervisor' in the configuration, or give its parameters"};
      }
      text.remove_prefix(colon + 1);
      if (text.empty()) continue;
    }
    if (auto done = read_pairs("-H", text, out); !done) return done;
  }
  return {};
}

Result<void> read_disks(const Arguments &arguments, instance::AddSpec &spec) {
  if (arguments.has("disk-template")) {
    if (auto done = instance::parse_template(arguments.value("disk-template"), spec); !done) return done;
  }
  for (const std::string &text : arguments.values("disk")) {
    auto disk = instance::parse_disk(text);
    if (!disk) return disk.error();
    spec.disks.push_back(*std::move(disk));
  }
  return {};
}

Result<void> read_nics(const Arguments &arguments, instance::AddSpec &spec) {
  const auto given = arguments.values("net");
  if (!given.empty() && arguments.has("no-nics")) {
    return Error{kBadValue, "--no-nics: --net is given too"};
  }
  for (const std::string &text : given) {
    auto nic = instance::parse_net(text);
    if (!nic) return nic.error();
    spec.nics.push_back(*std::move(nic));
  }
  return {};
}

Result<void> check_node(const std::string &name) {
  const auto checked = check_instance_name(name);
  if (checked) return {};
  return Error{kBadValue, text::cat("-n ", text::printable(name), ": no name of a node"),
               "write NODE or NODE:SECONDARY"};
}

Result<void> read_nodes(const Arguments &arguments, const config::Settings &settings,
                        instance::AddSpec &spec) {
  const std::string given = arguments.value("node", settings.node);
  const std::size_t colon = given.find(':');
  spec.node = given.substr(0, colon);
  if (colon != std::string::npos) spec.secondary = given.substr(colon + 1);
  VBD_TRY(check_node(spec.node));
  return colon == std::string::npos ? Result<void>{} : check_node(spec.secondary);
}

}  // namespace

Result<void> os_parameters(const Arguments &arguments, std::map<std::string, std::string> &out) {
  return read_all(arguments, "os-parameters", "-O", out);
}

Result<void> parameters(const Arguments &arguments, const config::Settings &settings,
                        instance::AddSpec &spec) {
  VBD_TRY(read_nics(arguments, spec));
  VBD_TRY(read_all(arguments, "backend-parameters", "-B", spec.backend));
  VBD_TRY(read_hypervisor(arguments, settings, spec.hypervisor));
  return os_parameters(arguments, spec.os_parameters);
}

Result<instance::AddSpec> add_spec(const Arguments &arguments, const config::Settings &settings) {
  instance::AddSpec spec;
  spec.name = arguments.value("NAME");
  spec.os = arguments.value("os-type");
  spec.no_install = arguments.has("no-install");
  spec.no_start = arguments.has("no-start");
  if (!text::is_printable_utf8(spec.os))
    return Error{kBadValue, text::cat("-o ", text::printable(spec.os), ": no name of an OS")};
  VBD_TRY(read_disks(arguments, spec));
  VBD_TRY(read_nodes(arguments, settings, spec));
  VBD_TRY(parameters(arguments, settings, spec));
  return spec;
}

}  // namespace vbd::cli
