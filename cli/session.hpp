// SPDX-License-Identifier: MIT
// One run of one verb: what the user gave, and what the verb works with, made from it. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/outcome.hpp"
#include "core/config/settings.hpp"
#include "core/device/device.hpp"
#include "core/plugin/registry.hpp"
#include "core/sys/run.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::cli {

class Session {
 public:
  explicit Session(Arguments arguments);
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;
  ~Session();

  /// Reads the configuration; before anything below it.
  [[nodiscard]] Result<void> load();
  /// The built-in defaults alone, for those who make a configuration.
  [[nodiscard]] Result<config::Settings> default_settings() const;

  [[nodiscard]] const Arguments &args() const { return arguments_; }
  [[nodiscard]] bool json() const { return arguments_.value("output") == "json"; }
  [[nodiscard]] bool dry_run() const { return arguments_.has("dry-run"); }
  [[nodiscard]] bool color() const;  ///< of stdout

  [[nodiscard]] const config::Settings &settings() const { return settings_; }
  [[nodiscard]] plugin::Registry &registry();
  [[nodiscard]] sys::Runner &runner();
  [[nodiscard]] device::Context device() { return {settings_, registry()}; }
  [[nodiscard]] instance::Manager manager() { return {settings_, registry(), profile_dirs(), runner()}; }
  /// What --repair and --unchecked (cli/vet_words.hpp) say about images that come from outside.
  [[nodiscard]] image::Vetting vetting() const;
  /// manager(), which goes by that.
  [[nodiscard]] instance::Manager vetting_manager();
  [[nodiscard]] std::vector<std::string> profile_dirs() const;

  /// The argument LOGICAL_ID.
  [[nodiscard]] Result<LogicalId> logical_id() const;
  /// --option NAME=VALUE, repeated.
  [[nodiscard]] Result<plugin::Values> option_values() const;

 private:
  Arguments arguments_;
  config::Settings settings_;
  std::unique_ptr<sys::Runner> runner_;
  std::unique_ptr<plugin::Registry> registry_;
};

/// Where this vbd was installed, and its plugins.
[[nodiscard]] std::string builtin_plugin_dir();

}  // namespace vbd::cli
