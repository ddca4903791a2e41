// SPDX-License-Identifier: MIT
#include "cli/cluster_init.hpp"

#include "cli/parser.hpp"
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/config/yaml.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/trusted.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::cli {
namespace {

constexpr const char *kConfigFile = "/etc/vbdkit/vbdkit.yaml";
constexpr std::uint32_t kDirectoryMode = 0755;
constexpr std::uint32_t kConfigMode = 0644;

std::string config_text(const config::Settings &settings) {
  return text::cat(
      "# Configuration of vbdkit; vbd config show prints all keys. This is all that differs from the "
      "defaults.\n",
      "file_storage_dir: ", config::yaml_scalar(settings.file_storage_dir), "\n");
}

/// The configuration as it will be read afterwards. A file named with --config may be one that this makes.
Result<config::Settings> settings_of(Session &session, const std::string &file) {
  config::Settings settings;
  if (session.args().has("config") && !sys::path_exists(file)) {
    auto defaults = session.default_settings();
    if (!defaults) return defaults;
    settings = *std::move(defaults);
  } else {
    VBD_TRY(session.load());
    settings = session.settings();
  }
  if (!session.args().has("file-storage-dir")) return settings;
  const std::string wanted = session.args().value("file-storage-dir");
  if (auto checked = check_image_path(wanted); !checked) {
    return Error{kBadValue, text::cat("--file-storage-dir: ", checked.error().message()),
                 checked.error().hint()};
  }
  if (sys::path_exists(file) && wanted != settings.file_storage_dir) {
    return Error{kBadValue,
                 text::cat("--file-storage-dir ", text::printable(wanted),
                           ": the configuration already says ", text::printable(settings.file_storage_dir)),
                 text::cat("change file_storage_dir in ", file)};
  }
  settings.file_storage_dir = wanted;
  return settings;
}

Result<void> write_config(const std::string &file, const config::Settings &settings) {
  const std::string directory = sys::dir_name(file);
  constexpr sys::TrustWords kWords{config::kUntrustedConfig, "configuration file", "not written"};
  VBD_TRY_ASSIGN(const auto fd, sys::make_trusted_directory(directory, kDirectoryMode, kWords));
  return sys::replace_file_at(fd.get(), sys::base_name(file), config_text(settings), kConfigMode);
}

Result<void> make_directories(const config::Settings &settings, bool dry_run, instance::Plan &steps) {
  const std::pair<std::string, const sys::TrustWords *> directories[] = {
      {settings.file_storage_dir, nullptr},
      {settings.state_dir, &sys::kStateDirectory},
      {settings.run_dir, &sys::kRunDirectory}};
  for (const auto &[directory, words] : directories) {
    const bool there = sys::path_exists(directory);
    if (there && words != nullptr) {
      if (auto ours = sys::open_trusted_directory(directory, *words); !ours) return ours.error();
    }
    if (there) continue;
    steps.push_back(text::cat("make directory ", directory));
    if (dry_run) continue;
    auto made = words == nullptr ? sys::make_dirs(directory, kDirectoryMode) : Result<void>();
    if (made && words != nullptr) {
      VBD_TRY(sys::make_trusted_directory(directory, kDirectoryMode, *words));
    }
    if (!made) return made;
  }
  return {};
}

}  // namespace

Result<instance::Plan> init_cluster(Session &session) {
  const std::string file = sys::absolute_path(session.args().value("config", kConfigFile));
  VBD_TRY_ASSIGN(const auto settings, settings_of(session, file));
  instance::Plan steps;
  VBD_TRY(make_directories(settings, session.dry_run(), steps));
  if (!session.dry_run()) {  // the catalog makes its own part of state_dir
    if (const auto names = instance::Catalog(settings).lock_names(); !names) return names.error();
  }
  if (!sys::path_exists(file)) {
    steps.push_back(text::cat("write configuration ", file));
    if (!session.dry_run()) {
      if (auto written = write_config(file, settings); !written) return written.error();
    }
  }
  if (!session.dry_run() && !steps.empty()) log::audit("cluster init", text::join(steps, "; "));
  return steps;
}

}  // namespace vbd::cli
