// SPDX-License-Identifier: MIT
#include "manager/hypervisor/profile.hpp"

#include <algorithm>

#include "core/base/text.hpp"
#include "core/config/yaml.hpp"
#include "core/model/instance_record.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/trusted.hpp"
#include "manager/hypervisor/commands_yaml.hpp"
#include "manager/hypervisor/outside.hpp"

namespace vbd::hypervisor {
namespace {

using text::cat;

constexpr std::size_t kProfileLimit = 65536;
constexpr sys::TrustWords kWords{kUntrustedProfile, "hypervisor profile", "not used"};
const std::vector<std::string> kKeys = {"summary",     "dialect",       "vdev_prefix",    "quote",
                                        "device_disk", "disk",          "disk_separator", "nics",
                                        "nic",         "nic_separator", "no_nics",        "config",
                                        "defaults",    "portable",      "portable_nics",  "commands"};

/// Names of the profiles that are there, for suggestions.
std::vector<std::string> installed(const std::vector<std::string> &directories) {
  std::set<std::string> names;
  for (const auto &directory : directories) {
    auto opened = sys::open_directory(directory);
    if (!opened) continue;
    auto entries = sys::list_dir(opened->get());
    if (!entries) continue;
    for (const auto &entry : *entries) {
      if (entry.size() > 5 && entry.ends_with(".yaml")) names.insert(entry.substr(0, entry.size() - 5));
    }
  }
  return {names.begin(), names.end()};
}

Result<void> read_text_keys(const config::Node &root, Profile &profile) {
  const std::pair<const char *, std::string *> fields[] = {{"summary", &profile.summary},
                                                           {"dialect", &profile.dialect},
                                                           {"vdev_prefix", &profile.vdev_prefix},
                                                           {"quote", &profile.quote},
                                                           {"disk", &profile.disk},
                                                           {"device_disk", &profile.device_disk},
                                                           {"disk_separator", &profile.disk_separator},
                                                           {"nic", &profile.nic},
                                                           {"nic_separator", &profile.nic_separator},
                                                           {"no_nics", &profile.no_nics},
                                                           {"config", &profile.config}};
  for (const auto &[key, target] : fields) {
    const auto *node = root.find(key);
    if (node == nullptr) continue;
    VBD_TRY_ASSIGN(auto value, config::as_text(*node));
    *target = value;
  }
  return {};
}

/// A map of texts under `key`.
Result<void> read_map(const config::Node &root, const char *key, std::string_view of,
                      std::map<std::string, std::string> &out) {
  const auto *node = root.find(key);
  if (node == nullptr) return {};
  if (node->kind != config::Node::Kind::map) {
    return Error(config::kBadValue, cat(node->mark.str(), ": ", key, ": expected a map of ", of));
  }
  for (const auto &[name, value] : node->entries) {
    VBD_TRY_ASSIGN(auto read, config::as_text(value));
    out[name.scalar] = read;
  }
  return {};
}

Result<void> check_profile(const Profile &profile, const std::string &path) {
  for (const auto &[key, value] :
       {std::pair{"dialect", &profile.dialect}, std::pair{"config", &profile.config}}) {
    if (value->empty()) return Error(kBadProfile, cat(path, ": ", key, " is missing"));
  }
  const auto parameters = parameter_names(profile);
  for (const auto &[name, form] : profile.portable) {
    if (!parameters.contains(name))
      return Error(kBadProfile,
                   cat(path, ": portable: ", text::printable(name), " is no parameter of the profile"));
    if (!is_form(form)) {
      return Error(kBadProfile, cat(path, ": portable: ", name,
                                    ": expected number, word, text or values with a bar "
                                    "between them, found '",
                                    text::printable(form), "'"));
    }
  }
  for (const auto &field : profile.portable_nics) {
    if (const auto &fields = nic_fields(); std::find(fields.begin(), fields.end(), field) == fields.end())
      return Error(kBadProfile, cat(path, ": portable_nics: a card has no ", text::printable(field)));
  }
  for (const auto &[mode, unused] : profile.nics) {
    if (auto good = check_nic_field("mode", mode); !good) return good.error().at(cat(path, ": nics"));
  }
  if (profile.quote != "xl" && profile.quote != "shell-args") {
    return Error(kBadProfile, cat(path, ": quote: expected xl or shell-args, found '",
                                  text::printable(profile.quote), "'"));
  }
  if (profile.commands.status_uuid != 0 && profile.config.find("{uuid}") == std::string::npos) {
    return Error(kBadProfile, cat(path, ": commands: status_uuid: the config gives a guest no {uuid}"));
  }
  return {};
}

}  // namespace

Result<Profile> parse_profile(std::string_view content, const std::string &name, const std::string &path) {
  VBD_TRY_ASSIGN(auto root, config::parse_yaml(content, path));
  VBD_TRY(config::check_keys(root, kKeys));
  Profile profile;
  profile.name = name;
  VBD_TRY(read_text_keys(root, profile));
  VBD_TRY(read_map(root, "defaults", "parameters", profile.defaults));
  VBD_TRY(read_map(root, "nics", "modes of network cards", profile.nics));
  VBD_TRY(read_map(root, "portable", "forms", profile.portable));
  if (const auto *fields = root.find("portable_nics")) {
    VBD_TRY_ASSIGN(auto names, config::as_text_list(*fields));
    profile.portable_nics.insert(names.begin(), names.end());
  }
  if (const auto *commands = root.find("commands")) {
    if (auto read = read_commands(*commands, profile.commands); !read) return read.error();
  }
  VBD_TRY(check_profile(profile, path));
  return profile;
}

namespace {

Result<Profile> load_file(const std::string &path) {
  VBD_TRY_ASSIGN(auto content, sys::read_trusted_file(path, kProfileLimit, kWords));
  std::string name = sys::base_name(path);
  if (name.ends_with(".yaml")) name.erase(name.size() - 5);
  return parse_profile(content, name, path);
}

}  // namespace

Result<Profile> load_profile(const std::string &name, const std::vector<std::string> &directories) {
  if (name.starts_with('/')) return load_file(name);
  const std::string shown = text::printable(name);
  if (auto good = check_instance_name(name); !good) {  // the same characters keep it inside its directory
    return Error(kNoProfile, cat("hypervisor '", shown, "': not a name of a profile"));
  }
  for (const auto &directory : directories) {
    const std::string path = cat(directory, "/", name, ".yaml");
    auto content = sys::read_trusted_file(path, kProfileLimit, kWords);
    if (content) return parse_profile(*content, name, path);
    if (!content.error().is(sys::kNotFound)) return content.error();
  }
  const auto names = installed(directories);
  return Error(kNoProfile,
               cat("hypervisor '", shown, "': no ", shown, ".yaml in ", text::join(directories, ", ")),
               names.empty() ? "set 'hypervisor' in the configuration, or write a profile"
                             : cat("installed: ", text::join(text::nearest_first(name, names), ", ")));
}

std::string short_name(const std::string &configured) {
  std::string name = configured.substr(configured.rfind('/') + 1);
  constexpr std::string_view kEnding = ".yaml";
  if (name.size() < configured.size() && name.ends_with(kEnding)) name.resize(name.size() - kEnding.size());
  return name;
}

std::string outside_name(const std::string &configured,
                         const std::map<std::string, std::string> &parameters) {
  const std::string name = short_name(configured);
  if (name == "qemu") return "kvm";
  if (name != "xen") return name;
  const auto type = parameters.find("type");
  return type != parameters.end() && type->second == "hvm" ? "xen-hvm" : "xen-pvm";
}

}  // namespace vbd::hypervisor
