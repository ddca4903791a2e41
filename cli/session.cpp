// SPDX-License-Identifier: MIT
#include "cli/session.hpp"

#include <utility>

#include "cli/build_info.hpp"
#include "cli/defaults.hpp"
#include "cli/parser.hpp"
#include "cli/terminal.hpp"
#include "core/base/text.hpp"
#include "core/config/documents.hpp"
#include "core/sys/host.hpp"

namespace vbd::cli {

std::string builtin_plugin_dir() {
  return text::cat(sys::install_prefix(), "/", kPluginDir);
}

Session::Session(Arguments arguments) : arguments_(std::move(arguments)) {}
Session::~Session() = default;

Result<void> Session::load() {
  if (arguments_.has("repair") && arguments_.has("unchecked"))
    return Error{kBadValue, "--repair and --unchecked: give one of them"};
  const config::LoadOptions options{kDefaults, arguments_.value("config"), sys::install_prefix()};
  auto loaded = config::load_settings(options);
  if (!loaded) return loaded.error();
  settings_ = *std::move(loaded);
  return {};
}

Result<config::Settings> Session::default_settings() const {
  config::LoadOptions options{kDefaults, {}, {}};
  options.defaults_only = true;
  return config::load_settings(options);
}

bool Session::color() const {
  return wants_color(arguments_.value("color", "auto"), kStdout);
}

image::Vetting Session::vetting() const {
  using Word = image::Vetting::Word;
  const Word word = arguments_.has("unchecked") ? Word::unchecked
                    : arguments_.has("repair")  ? Word::repair
                                                : Word::check;
  return {word, dry_run()};
}

instance::Manager Session::vetting_manager() {
  instance::Manager manager = this->manager();
  manager.vetting = vetting();
  return manager;
}

sys::Runner &Session::runner() {
  if (!runner_) runner_ = sys::make_real_runner();
  return *runner_;
}

plugin::Registry &Session::registry() {
  if (!registry_) {
    std::vector<std::string> extra;
    for (const std::string &directory : arguments_.values("plugin-dir"))
      extra.push_back(sys::absolute_path(directory));
    registry_ =
        std::make_unique<plugin::Registry>(settings_, std::move(extra), builtin_plugin_dir(), runner());
  }
  return *registry_;
}

std::vector<std::string> Session::profile_dirs() const {
  return {"/etc/vbdkit/hypervisors", sys::install_prefix() + "/share/vbdkit/hypervisors"};
}

Result<LogicalId> Session::logical_id() const {
  return config::parse_logical_id(arguments_.value("LOGICAL_ID"), settings_);
}

Result<plugin::Values> Session::option_values() const {
  plugin::Values values;
  for (const std::string &given : arguments_.values("option")) {
    const std::size_t equals = given.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{kBadValue, text::cat("-O ", text::printable(given), ": not NAME=VALUE"),
                   "see vbd plugin show CONSTANT for the options that there are"};
    }
    if (!values.emplace(given.substr(0, equals), given.substr(equals + 1)).second) {
      return Error{kBadValue, text::cat("-O ", text::printable(given.substr(0, equals)), ": given twice")};
    }
  }
  return values;
}

}  // namespace vbd::cli
