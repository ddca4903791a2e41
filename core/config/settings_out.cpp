// SPDX-License-Identifier: MIT
// What settings turn into: text for people, ownership for new images.

#include <charconv>
#include <cstdio>

#include "core/base/text.hpp"
#include "core/config/settings.hpp"
#include "core/sys/components.hpp"
#include "core/sys/host.hpp"

namespace vbd::config {
namespace {

std::string origin(const Settings &settings, const std::string &key) {
  const auto found = settings.origins.find(key);
  return "  # from " + text::printable(found == settings.origins.end() ? "default" : found->second) + "\n";
}

std::string list_text(const std::vector<std::string> &list) {
  std::vector<std::string> scalars;
  for (const std::string &item : list) scalars.push_back(yaml_scalar(item));
  return "[" + text::join(scalars, ", ") + "]";
}

std::string octal(std::uint32_t mode) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "\"0%03o\"", mode);
  return buffer;
}

std::string plugins_text(const Settings &settings) {
  if (settings.plugins.empty()) return "plugins: {}  # from default\n";
  std::string out = "plugins:\n";
  for (const auto &[constant, options] : settings.plugins) {
    out += text::cat("  ", constant, ":\n");
    for (const auto &[name, option] : options) {
      out += text::cat("    ", yaml_scalar(name), ": ", yaml_scalar(option.value),
                       origin(settings, text::cat("plugins.", constant, ".", name)));
    }
  }
  return out;
}

std::string nodes_text(const Settings &settings) {
  if (settings.nodes.empty()) return "nodes: {}  # from default\n";
  std::string out = "nodes:\n";
  for (const auto &[name, node] : settings.nodes) {
    out += text::cat("  ", yaml_scalar(name), ": {ssh: ", yaml_scalar(node.ssh), "}",
                     origin(settings, "nodes." + name));
  }
  return out;
}

bool parse_number(const std::string &text, std::int64_t &number) {
  std::uint32_t id = 0;
  const char *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id);
  if (error != std::errc{} || stop != end || id == UINT32_MAX) return false;  // -1 means "as it is" to chown
  number = id;
  return true;
}

Error no_such(const Settings &settings, const std::string &key, std::string_view what,
              const std::string &name) {
  const auto where = settings.origins.find(key);
  const std::string place = where == settings.origins.end() ? "default" : where->second;
  return {kBadValue,
          text::cat(place, ": ", key, ": no ", what, " named '", text::printable(name), "' on this host"),
          text::cat("create it, or write a number or another name for ", key)};
}

Result<std::int64_t> user_id(const Settings &settings) {
  std::int64_t number = -1;
  if (settings.image_owner.empty() || parse_number(settings.image_owner, number)) return number;
  const auto found = sys::user_by_name(settings.image_owner);
  if (!found) return no_such(settings, "image_owner", "user", settings.image_owner);
  return std::int64_t{*found};
}

Result<std::int64_t> group_id(const Settings &settings) {
  std::int64_t number = -1;
  if (settings.image_group.empty() || parse_number(settings.image_group, number)) return number;
  const auto found = sys::group_by_name(settings.image_group);
  if (!found) return no_such(settings, "image_group", "group", settings.image_group);
  return std::int64_t{*found};
}

}  // namespace

std::string show_settings(const Settings &settings) {
  std::string out;
  const auto line = [&](const std::string &key, const std::string &value) {
    out += text::cat(key, ": ", value, origin(settings, key));
  };
  line("file_storage_dir", yaml_scalar(settings.file_storage_dir));
  line("allowed_dirs", list_text(settings.allowed_dirs));
  line("state_dir", yaml_scalar(settings.state_dir));
  line("run_dir", yaml_scalar(settings.run_dir));
  line("plugin_dirs", list_text(settings.plugin_dirs));
  line("default_driver", settings.default_driver);
  line("default_filetype", settings.default_filetype);
  out += plugins_text(settings);
  line("references", settings.references == ReferencePolicy::deny ? "deny" : "below-allowed-dirs");
  line("hypervisor", yaml_scalar(settings.hypervisor));
  line("node", yaml_scalar(settings.node));
  out += nodes_text(settings);
  line("os_search_path", list_text(settings.os_search_path));
  line("export_dir", yaml_scalar(settings.export_dir));
  line("log_dir", yaml_scalar(settings.log_dir));
  line("image_owner", yaml_scalar(settings.image_owner));
  line("image_group", yaml_scalar(settings.image_group));
  line("image_mode", octal(settings.image_mode));
  line("min_free", std::to_string(settings.min_free));
  return out;
}

Result<sys::Ownership> image_ownership(const Settings &settings) {
  VBD_TRY_ASSIGN(const auto uid, user_id(settings));
  VBD_TRY_ASSIGN(const auto gid, group_id(settings));
  if (uid >= 0 && !sys::is_root() && uid != std::int64_t{sys::effective_uid()}) {
    const auto where = settings.origins.find("image_owner");
    return Error{sys::kPermission,
                 text::cat(where == settings.origins.end() ? "default" : where->second,
                           ": image_owner: only root can give images to '",
                           text::printable(settings.image_owner), "'"),
                 "run as root, or leave image_owner out"};
  }
  return sys::Ownership{uid, gid, settings.image_mode};
}

}  // namespace vbd::config
