// SPDX-License-Identifier: MIT
#include "core/config/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/model/instance_record.hpp"
#include "core/sys/components.hpp"
#include "core/sys/host.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::config {
namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 20;
/// What it says runs programs as root: a profile, plugins, where scripts are found.
constexpr sys::TrustWords kFileWords{kUntrustedConfig, "configuration file", "not read"};

using Apply = Result<void> (*)(Settings &, const Node &);
struct Key {
  std::string_view name;
  Apply apply;
};

Result<std::string> as_directory(const Node &node) {
  auto path = as_text(node);
  if (!path) return path;
  while (path->size() > 1 && path->ends_with('/')) path->pop_back();
  if (*path == "/") return path;
  if (const auto checked = check_image_path(*path); !checked) {
    return bad_value(node, checked.error().message(), "write the full path of a directory");
  }
  return path;
}

template <std::string Settings::*Member>
Result<void> set_text(Settings &settings, const Node &node) {
  auto value = as_text(node);
  if (!value) return value.error();
  settings.*Member = *std::move(value);
  return {};
}

template <std::string Settings::*Member>
Result<void> set_directory(Settings &settings, const Node &node) {
  auto path = as_directory(node);
  if (!path) return path.error();
  settings.*Member = *std::move(path);
  return {};
}

template <std::vector<std::string> Settings::*Member>
Result<void> set_directories(Settings &settings, const Node &node) {
  VBD_TRY(as_text_list(node));
  std::vector<std::string> paths;
  for (const Node &item : node.items) {
    auto path = as_directory(item);
    if (!path) return path.error();
    paths.push_back(*std::move(path));
  }
  settings.*Member = std::move(paths);
  return {};
}

template <std::string Settings::*Member, PluginKind Kind>
Result<void> set_constant(Settings &settings, const Node &node) {
  VBD_TRY_ASSIGN(auto value, as_text(node));
  const auto constant = Constant::parse(value, Kind);
  if (!constant) return bad_value(node, constant.error().message(), constant.error().hint());
  settings.*Member = constant->str();
  return {};
}

/// Names that become part of paths and of instance.yaml.
template <std::string Settings::*Member>
Result<void> set_name(Settings &settings, const Node &node) {
  auto value = as_text(node);
  if (!value) return value.error();
  if (!check_instance_name(*value)) {
    return bad_value(node, text::cat("'", text::printable(*value), "' is no name"),
                     "use letters, digits, '.', '_' and '-'");
  }
  settings.*Member = *std::move(value);
  return {};
}

/// A name, or the full path of a profile.
Result<void> set_hypervisor(Settings &settings, const Node &node) {
  auto value = as_text(node);
  if (!value) return value.error();
  if (!value->starts_with('/')) return set_name<&Settings::hypervisor>(settings, node);
  if (!text::is_printable_utf8(*value)) return bad_value(node, "a path with a control character");
  settings.hypervisor = *std::move(value);
  return {};
}

Result<void> set_references(Settings &settings, const Node &node) {
  VBD_TRY_ASSIGN(const auto value, as_text(node));
  if (value != "deny" && value != "below-allowed-dirs") {
    return bad_value(node,
                     text::cat("expected deny or below-allowed-dirs, found '", text::printable(value), "'"));
  }
  settings.references = value == "deny" ? ReferencePolicy::deny : ReferencePolicy::below_allowed_dirs;
  return {};
}

Result<void> set_mode(Settings &settings, const Node &node) {
  VBD_TRY_ASSIGN(const auto value, as_text(node));
  std::uint32_t mode = 0;
  const char *end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, mode, 8);
  if (error != std::errc{} || stop != end || mode > 0777) {
    return bad_value(node,
                     text::cat("expected an octal mode up to 0777, found '", text::printable(value), "'"));
  }
  settings.image_mode = mode;
  return {};
}

Result<void> set_min_free(Settings &settings, const Node &node) {
  VBD_TRY_ASSIGN(const auto value, as_text(node));
  const auto size = parse_size(value, SizeStyle::plain);
  if (!size) return bad_value(node, size.error().message(), size.error().hint());
  settings.min_free = *size;
  return {};
}

Result<void> set_plugins(Settings &settings, const Node &node) {
  if (node.kind != Node::Kind::map) return bad_value(node, "expected a map of plugins");
  for (const auto &[name, options] : node.entries) {
    const PluginKind kind = name.scalar.starts_with("FT_") ? PluginKind::filetype : PluginKind::driver;
    const auto constant = Constant::parse(name.scalar, kind);
    if (!constant || constant->str() != name.scalar) {
      return Error{
          kBadValue,
          text::cat(name.mark.str(), ": plugins: '", text::printable(name.scalar), "' is no constant"),
          "write the plugin's full constant, like FD_LOOP"};
    }
    VBD_TRY(as_text_map(options));
    for (const auto &[option, value] : options.entries) {
      settings.plugins[name.scalar][option.scalar] = {value.scalar, value.mark};
      settings.origins[text::cat("plugins.", name.scalar, ".", option.scalar)] = value.mark.str();
    }
  }
  return {};
}

Result<void> set_nodes(Settings &settings, const Node &node) {
  if (node.kind != Node::Kind::map) return bad_value(node, "expected a map of nodes");
  for (const auto &[name, value] : node.entries) {
    if (!check_instance_name(name.scalar)) {
      return Error{kBadValue,
                   text::cat(name.mark.str(), ": nodes: '", text::printable(name.scalar), "' is no name")};
    }
    VBD_TRY(check_keys(value, {"ssh"}));
    const Node *ssh = value.find("ssh");
    if (ssh == nullptr) return bad_value(value, "'ssh' is missing", "write ssh: USER@HOST");
    auto target = as_text(*ssh);
    if (!target) return target.error();
    // ssh would take a leading dash for an option.
    if (target->empty() || target->front() == '-') return bad_value(*ssh, "expected USER@HOST");
    settings.nodes[name.scalar].ssh = *std::move(target);
    settings.origins[text::cat("nodes.", name.scalar)] = value.mark.str();
  }
  return {};
}

constexpr std::array<Key, 19> kKeys = {{
    {"file_storage_dir", set_directory<&Settings::file_storage_dir>},
    {"allowed_dirs", set_directories<&Settings::allowed_dirs>},
    {"state_dir", set_directory<&Settings::state_dir>},
    {"run_dir", set_directory<&Settings::run_dir>},
    {"plugin_dirs", set_directories<&Settings::plugin_dirs>},
    {"default_driver", set_constant<&Settings::default_driver, PluginKind::driver>},
    {"default_filetype", set_constant<&Settings::default_filetype, PluginKind::filetype>},
    {"plugins", set_plugins},
    {"references", set_references},
    {"hypervisor", set_hypervisor},
    {"node", set_name<&Settings::node>},
    {"nodes", set_nodes},
    {"os_search_path", set_directories<&Settings::os_search_path>},
    {"export_dir", set_directory<&Settings::export_dir>},
    {"log_dir", set_directory<&Settings::log_dir>},
    {"image_owner", set_text<&Settings::image_owner>},
    {"image_group", set_text<&Settings::image_group>},
    {"image_mode", set_mode},
    {"min_free", set_min_free},
}};

bool is_nested(std::string_view key) {
  return key == "plugins" || key == "nodes";
}

Result<void> apply_file(Settings &settings, const Node &root) {
  std::vector<std::string> known;
  for (const Key &key : kKeys) known.emplace_back(key.name);
  VBD_TRY(check_keys(root, known));
  for (const Key &key : kKeys) {
    const Node *node = root.find(key.name);
    if (node == nullptr) continue;
    VBD_TRY(key.apply(settings, *node));
    if (!is_nested(key.name)) settings.origins[std::string(key.name)] = node->mark.str();
  }
  return {};
}

/// Against the current directory, ".." left to the walk: what stands before it may be a link.
Result<std::string> whole_path(const std::string &path) {
  if (path.starts_with('/')) return path;
  VBD_TRY_ASSIGN(auto here, sys::canonical_path("."));
  return text::cat(here, "/", path);
}

Result<void> apply_path(Settings &settings, const std::string &path, bool required) {
  VBD_TRY_ASSIGN(const auto whole, whole_path(path));
  const auto text = sys::read_trusted_file(whole, kMaxFile, kFileWords);
  if (!text) {
    if (text.error().is(sys::kNotFound) && !required) return {};
    if (text.error().is(sys::kNotFound)) {
      return Error{kConfigNotFound, text::cat("configuration ", text::printable(path), ": not found"),
                   "check the name given with --config"};
    }
    return text.error().is(kUntrustedConfig) ? text.error() : text.error().at("configuration");
  }
  VBD_TRY_ASSIGN(const auto root, parse_yaml(*text, path));
  return apply_file(settings, root);
}

Result<void> apply_drop_ins(Settings &settings, const std::string &directory) {
  const auto fd = sys::open_trusted_directory(directory, kFileWords);
  if (!fd && fd.error().is(sys::kNotFound)) return {};
  if (!fd) return fd.error();
  VBD_TRY_ASSIGN(const auto names, sys::list_dir(fd->get()));
  for (const std::string &name : names) {
    if (name.starts_with('.') || !name.ends_with(".yaml")) continue;
    if (auto applied = apply_path(settings, text::cat(directory, "/", name), false); !applied) return applied;
  }
  return {};
}

Result<void> apply_files(Settings &settings, const LoadOptions &options) {
  if (options.defaults_only) return {};
  if (!options.config_file.empty()) return apply_path(settings, options.config_file, true);
  for (const std::string &path : {options.prefix + "/lib/vbdkit/vbdkit.yaml", options.etc + "/vbdkit.yaml"}) {
    if (auto applied = apply_path(settings, path, false); !applied) return applied;
  }
  return apply_drop_ins(settings, options.etc + "/conf.d");
}

void set_origin_defaults(Settings &settings) {
  for (const Key &key : kKeys) {
    if (!is_nested(key.name)) settings.origins[std::string(key.name)] = "default";
  }
}

}  // namespace

Result<Settings> load_settings(const LoadOptions &options) {
  Settings settings;
  VBD_TRY_ASSIGN(const auto defaults, parse_yaml(options.defaults, "default"));
  VBD_TRY(apply_file(settings, defaults));
  set_origin_defaults(settings);
  VBD_TRY(apply_files(settings, options));
  if (settings.allowed_dirs.empty() && settings.origins["allowed_dirs"] == "default") {
    settings.allowed_dirs = {settings.file_storage_dir};
  }
  if (settings.node.empty()) settings.node = sys::host_name();
  return settings;
}

}  // namespace vbd::config
