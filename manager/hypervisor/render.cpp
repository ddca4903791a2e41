// SPDX-License-Identifier: MIT
// Templates: {name} is replaced by a value that is quoted for the file; braces around anything that is no
// parameter's name stay as they are.
#include <algorithm>
#include <functional>
#include <optional>

#include "core/base/text.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::hypervisor {
namespace {

using text::cat;

bool is_word(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

bool all_of(std::string_view value, std::string_view allowed) {
  return !value.empty() && value.find_first_not_of(allowed) == std::string_view::npos;
}

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kPlainWord =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=,@%+-";

/// xl.cfg: backslash escapes the quote and itself; \xNN and \NNN don't work in libxlutil, so control
/// characters can't be written at all.
std::string quote_xl(std::string_view value) {
  if (all_of(value, kDigits)) return std::string(value);
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string quote_shell(std::string_view value) {
  if (all_of(value, kPlainWord)) return std::string(value);
  std::string out = "'";
  for (const char c : value) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

Result<std::string> quoted(const Profile &profile, const std::string &value, const std::string &what) {
  const bool control = std::any_of(value.begin(), value.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (control) {
    return Error(kCannotQuote,
                 cat(what, " '", text::printable(value),
                     "': a control character can't be written into the config of ", profile.name));
  }
  return profile.quote == "xl" ? quote_xl(value) : quote_shell(value);
}

/// What a placeholder becomes; nothing: no value, the line is left out.
using Lookup = std::function<Result<std::optional<std::string>>(const std::string &)>;

/// One line; nothing when one of its placeholders has no value.
Result<std::optional<std::string>> fill(std::string_view line, const Lookup &lookup) {
  std::string out;
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = line[at] == '{' ? line.find('}', at) : std::string_view::npos;
    if (end == std::string_view::npos || !is_word(line.substr(at + 1, end - at - 1))) {
      out += line[at++];
      continue;
    }
    VBD_TRY_ASSIGN(auto value, lookup(std::string(line.substr(at + 1, end - at - 1))));
    if (!value.has_value()) return std::optional<std::string>{};
    out += *value;
    at = end + 1;
  }
  return std::optional(out);
}

Result<std::string> render_disks(const Profile &profile, const std::vector<GuestDisk> &disks) {
  std::string out;
  for (const auto &disk : disks) {
    VBD_TRY_ASSIGN(auto text, quoted(profile, disk.text, "disk"));
    VBD_TRY_ASSIGN(auto line,
                   fill(profile.disk, [&](const std::string &key) -> Result<std::optional<std::string>> {
                     if (key == "disk") return std::optional(text);
                     if (key == "vdev") return std::optional(disk.vdev);
                     if (key == "access") return std::optional<std::string>(disk.read_only ? "ro" : "rw");
                     if (key == "readonly") return std::optional<std::string>(disk.read_only ? "on" : "off");
                     return std::optional<std::string>{};
                   }));
    if (!out.empty()) out += profile.disk_separator;
    out += line.value_or("");
  }
  return out;
}

/// The card's pieces between commas; those without a value are left out.
Result<std::string> nic_text(const Profile &profile, const NicRecord &nic, std::size_t index) {
  const auto found = profile.nics.find(nic.mode);
  if (found == profile.nics.end()) {
    if (auto known = check_nic_mode(profile, nic.mode, cat("network card ", index)); !known)
      return known.error();
  }
  const Lookup lookup = [&](const std::string &key) -> Result<std::optional<std::string>> {
    if (key == "index") return std::optional(std::to_string(index));
    const std::string *value = nic_field(nic, key);
    if (value == nullptr) {
      return Error(kBadProfile, cat("hypervisor ", profile.name, ": nics: no value is called '", key, "'"));
    }
    // A tag follows what it belongs to.
    if (value->empty() && key != "vlan") return std::optional<std::string>{};
    return std::optional(*value);
  };
  std::vector<std::string> pieces;
  for (const auto &piece : text::split(found->second, ',')) {
    VBD_TRY_ASSIGN(auto filled, fill(piece, lookup));
    if (filled.has_value()) pieces.push_back(*filled);
  }
  return text::join(pieces, ",");
}

/// Nothing when there are none and the profile has no words for that.
Result<std::optional<std::string>> render_nics(const Profile &profile, const std::vector<NicRecord> &nics) {
  if (nics.empty()) {
    return profile.no_nics.empty() ? std::optional<std::string>{} : std::optional(profile.no_nics);
  }
  std::string out;
  for (std::size_t i = 0; i < nics.size(); ++i) {
    VBD_TRY_ASSIGN(auto text, nic_text(profile, nics[i], i));
    VBD_TRY_ASSIGN(auto word, quoted(profile, text, cat("network card ", i)));
    VBD_TRY_ASSIGN(auto line,
                   fill(profile.nic, [&](const std::string &key) -> Result<std::optional<std::string>> {
                     return key == "nic" ? std::optional(word) : std::nullopt;
                   }));
    if (i > 0) out += profile.nic_separator;
    out += line.value_or("");
  }
  return std::optional(out);
}

}  // namespace

std::set<std::string> parameter_names(const Profile &profile) {
  std::set<std::string> names;
  for (const auto &[name, value] : profile.defaults) names.insert(name);
  const Lookup collect = [&](const std::string &key) -> Result<std::optional<std::string>> {
    names.insert(key);
    return std::optional<std::string>("");
  };
  for (const auto &line : text::split(profile.config, '\n')) (void)fill(line, collect);
  names.erase("name");
  names.erase("uuid");
  names.erase("disks");
  names.erase("nics");
  return names;
}

Result<void> check_parameters(const Profile &profile, const std::map<std::string, std::string> &parameters,
                              const std::string &where) {
  const auto known = parameter_names(profile);
  for (const auto &[name, value] : parameters) {
    if (known.contains(name)) {
      VBD_TRY(quoted(profile, value, cat(where, " ", name)));
      continue;
    }
    const std::vector<std::string> names(known.begin(), known.end());
    const std::string near = text::did_you_mean(name, names);
    return Error(
        kBadParameter,
        cat(where, ": the ", profile.name, " profile has no parameter '", text::printable(name), "'"),
        near.empty() ? cat("it has ", text::join(names, ", ")) : cat("did you mean '", near, "'?"));
  }
  return {};
}

Result<void> check_nic_mode(const Profile &profile, const std::string &mode, const std::string &where) {
  if (profile.nics.contains(mode)) return {};
  std::vector<std::string> modes;
  for (const auto &[name, unused] : profile.nics) modes.push_back(name);
  return Error(kBadParameter,
               cat(where, ": the ", profile.name, " profile can't write a network card of mode '",
                   text::printable(mode), "'"),
               modes.empty() ? "give --no-nics, or add 'nics' to the profile"
                             : cat("it has ", text::join(modes, ", ")));
}

std::string guest_vdev(const Profile &profile, const std::string &vdev) {
  if (profile.vdev_prefix.empty() || !vdev.starts_with("sd")) return vdev;
  return profile.vdev_prefix + vdev.substr(2);
}

Result<std::string> node_disk(const Profile &profile, const std::string &node, const std::string &vdev,
                              bool read_only) {
  if (profile.device_disk.empty()) {
    return Error(kBadProfile, cat("hypervisor ", profile.name, ": device_disk is missing, and the disk ",
                                  vdev, " can only be given as a device"));
  }
  VBD_TRY_ASSIGN(auto filled,
                 fill(profile.device_disk, [&](const std::string &key) -> Result<std::optional<std::string>> {
                   if (key == "node") return std::optional(node);
                   if (key == "vdev") return std::optional(guest_vdev(profile, vdev));
                   if (key == "access") return std::optional<std::string>(read_only ? "ro" : "rw");
                   if (key == "readonly") return std::optional<std::string>(read_only ? "on" : "off");
                   return Error(kBadProfile, cat("hypervisor ", profile.name,
                                                 ": device_disk: no value is called '", key, "'"));
                 }));
  return filled.value_or("");
}

Result<std::string> render_config(const Profile &profile, const std::string &instance,
                                  const std::map<std::string, std::string> &parameters,
                                  const std::vector<GuestDisk> &disks, const std::vector<NicRecord> &nics,
                                  const std::string &uuid) {
  VBD_TRY_ASSIGN(auto cards, render_nics(profile, nics));
  VBD_TRY_ASSIGN(auto rendered, render_disks(profile, disks));
  const Lookup lookup = [&](const std::string &key) -> Result<std::optional<std::string>> {
    if (key == "disks") return std::optional(rendered);
    if (key == "nics") return cards;
    const auto given = parameters.find(key), fallback = profile.defaults.find(key);
    std::string value = key == "name"                        ? instance
                        : key == "uuid"                      ? uuid
                        : given != parameters.end()          ? given->second
                        : fallback != profile.defaults.end() ? fallback->second
                                                             : "";
    if (value.empty()) return std::optional<std::string>{};
    VBD_TRY_ASSIGN(auto text, quoted(profile, value, key));
    return std::optional(text);
  };
  std::string out;
  for (const auto &line : text::split(profile.config, '\n')) {
    VBD_TRY_ASSIGN(auto filled, fill(line, lookup));
    if (filled.has_value() && !filled->empty()) out += *filled + "\n";
  }
  return out;
}

}  // namespace vbd::hypervisor
