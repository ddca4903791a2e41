// SPDX-License-Identifier: MIT
// The configuration: built-in defaults < PREFIX/lib/vbdkit/vbdkit.yaml < /etc/vbdkit/vbdkit.yaml <
// /etc/vbdkit/conf.d/*.yaml, or one FILE alone over the defaults. Later files replace key by key, lists
// whole. Read once, then constant.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/yaml.hpp"
#include "core/model/logical_id.hpp"
#include "core/sys/files.hpp"

namespace vbd::config {

/// Somebody but root and the effective user can write to a configuration file, or exchange it.
inline constexpr ErrorKind kUntrustedConfig{"config.untrusted", Exit::refused};

enum class ReferencePolicy { deny, below_allowed_dirs };

/// An option of a plugin as it was written; checked against the plugin's table when that plugin is used.
struct PluginOption {
  std::string value;
  Mark mark;
};

struct NodeSettings {
  std::string ssh;  ///< "root@node2"
};

struct Settings {
  std::string file_storage_dir;
  std::vector<std::string> allowed_dirs;  ///< filled with [file_storage_dir] when not configured
  std::string state_dir = "/var/lib/vbdkit";
  std::string run_dir = "/run/vbdkit";
  std::vector<std::string> plugin_dirs;
  std::string default_driver = "FD_LOOP";
  std::string default_filetype = "FT_RAW";
  std::map<std::string, std::map<std::string, PluginOption>> plugins;  ///< constant -> option -> value
  ReferencePolicy references = ReferencePolicy::deny;
  std::string hypervisor;
  std::string node;  ///< filled with the host's name when not configured
  std::map<std::string, NodeSettings> nodes;
  std::vector<std::string> os_search_path;
  std::string export_dir;
  std::string log_dir = "/var/log/vbdkit/os";  ///< what the scripts of guest OS definitions wrote
  std::string image_owner, image_group;        ///< names or numbers; "" as created
  std::uint32_t image_mode = 0600;
  std::uint64_t min_free = 0;  ///< bytes; add warns below it

  /// key ("file_storage_dir", "plugins.FD_BLKTAP.backend") -> "default" or FILE:LINE:COL
  std::map<std::string, std::string> origins;
};

struct LoadOptions {
  std::string_view defaults;  ///< the built-in defaults, as YAML: policy of the program, not of this library
  std::string config_file;    ///< --config FILE: that file alone; "" the usual ones
  std::string prefix;         ///< of the installation
  std::string etc = "/etc/vbdkit";
  bool defaults_only = false;  ///< no file at all
};

[[nodiscard]] Result<Settings> load_settings(const LoadOptions &options);
/// Owner, group and mode for new images; names looked up. Root only for a foreign owner.
[[nodiscard]] Result<sys::Ownership> image_ownership(const Settings &settings);
/// The merged result as YAML, each line with "# from WHERE".
[[nodiscard]] std::string show_settings(const Settings &settings);

}  // namespace vbd::config
