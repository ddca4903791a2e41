// SPDX-License-Identifier: MIT
// vbd config
#include "cli/nouns.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/text.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::cli {
namespace config_file {
namespace {

PluginKind kind_of(const std::string &constant) {
  return constant.starts_with("FT_") ? PluginKind::filetype : PluginKind::driver;
}

/// Loads the plugin, which checks its configured options against its table.
Result<plugin::Plugin *> load(Session &session, const std::string &text) {
  VBD_TRY_ASSIGN(const auto constant, Constant::parse(text, kind_of(text)));
  return session.registry().load(constant);
}

bool is_secret(const plugin::Plugin &plugin, const std::string &name) {
  for (const plugin::OptionInfo &option : plugin.options()) {
    if (option.name == name) return option.secret;
  }
  return false;
}

/// Secrets are never printed; of a plugin that can't be asked every option may be one.
config::Settings without_secrets(Session &session) {
  config::Settings settings = session.settings();
  for (auto &[constant, options] : settings.plugins) {
    const auto plugin = load(session, constant);
    for (auto &[name, option] : options) {
      if (!plugin) option.value = "(hidden: the plugin can't be asked whether it is secret)";
      if (plugin && is_secret(**plugin, name)) option.value = "(secret)";
    }
  }
  return settings;
}

json::Value plugins_json(const config::Settings &settings) {
  json::Object plugins;
  for (const auto &[constant, options] : settings.plugins) {
    json::Object values;
    for (const auto &[name, option] : options) values.emplace_back(name, option.value);
    plugins.emplace_back(constant, std::move(values));
  }
  return plugins;
}

json::Value nodes_json(const config::Settings &settings) {
  json::Object nodes;
  for (const auto &[name, node] : settings.nodes) nodes.emplace_back(name, json::Object{{"ssh", node.ssh}});
  return nodes;
}

json::Value settings_json(const config::Settings &settings) {
  json::Value value;
  value.set("file_storage_dir", settings.file_storage_dir)
      .set("allowed_dirs", report::to_json(settings.allowed_dirs));
  value.set("state_dir", settings.state_dir).set("run_dir", settings.run_dir);
  value.set("plugin_dirs", report::to_json(settings.plugin_dirs))
      .set("default_driver", settings.default_driver);
  value.set("default_filetype", settings.default_filetype).set("plugins", plugins_json(settings));
  value.set("references",
            settings.references == config::ReferencePolicy::deny ? "deny" : "below-allowed-dirs");
  value.set("hypervisor", settings.hypervisor).set("node", settings.node).set("nodes", nodes_json(settings));
  value.set("os_search_path", report::to_json(settings.os_search_path))
      .set("export_dir", settings.export_dir);
  value.set("image_owner", settings.image_owner).set("image_group", settings.image_group);
  return value.set("image_mode", std::uint64_t{settings.image_mode}).set("min_free", settings.min_free);
}

Result<Outcome> show(Session &session) {
  const config::Settings settings = without_secrets(session);
  if (!session.json()) return Outcome{config::show_settings(settings), {}};
  json::Value value;
  value.set("schema", "vbdkit.config/1")
      .set("settings", settings_json(settings))
      .set("origins", report::to_json(settings.origins));
  return Outcome{{}, std::move(value)};
}

Result<Outcome> check(Session &session) {
  for (const auto &[constant, options] : session.settings().plugins) {
    if (const auto loaded = load(session, constant); !loaded) return loaded.error();
  }
  VBD_TRY(config::image_ownership(session.settings()));
  VBD_TRY(hypervisor::load_profile(session.settings().hypervisor, session.profile_dirs()));
  return Outcome{"the configuration is good\n",
                 json::Object{{"schema", "vbdkit.config-check/1"}, {"good", true}}};
}

constexpr std::string_view kShowExamples[] = {"vbd config show", "vbd config show --config ./vbdkit.yaml"};
constexpr std::string_view kCheckExamples[] = {"vbd config check", "vbd config check --config ./vbdkit.yaml"};

constexpr VerbSpec kVerbs[] = {
    {"show",
     "print the merged configuration and where each value came from",
     "",
     {},
     {},
     kShowExamples,
     false,
     false,
     show},
    {"check",
     "check the configuration, options of plugins included",
     "",
     {},
     {},
     kCheckExamples,
     false,
     false,
     check},
};

}  // namespace
}  // namespace config_file

std::span<const VerbSpec> config_verbs() {
  return config_file::kVerbs;
}

}  // namespace vbd::cli
