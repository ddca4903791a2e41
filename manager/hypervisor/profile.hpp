// SPDX-License-Identifier: MIT
// Hypervisor profiles: data, not code. A YAML file names the dialect, the template of the guest's config file and how
// a disk is written there. Format: docs/hypervisor-profiles.md. Read-only after loading.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/result.hpp"

namespace vbd::hypervisor {

inline constexpr ErrorKind kNoProfile{"hypervisor.not_found", Exit::not_found};
inline constexpr ErrorKind kBadParameter{"hypervisor.parameter", Exit::usage};

struct Profile {
  std::string name, summary;
  std::string dialect;              ///< "xl"
  std::string vdev_prefix;          ///< optional: "xvd" turns sda1 into xvda1 for the guest; "" leaves names
  std::string quote;                ///< how values are written into the config: "xl" or "shell-args"; docs
  std::string device_disk;          ///< a disk given by node: "{node} {vdev} {access}" template
  std::string config;               ///< template: {name} {memory} {vcpus} {disks} and defaults' keys
  std::map<std::string, std::string> defaults;  ///< parameters of -B and -H that have a default
};

/// NAME.yaml in /etc/vbdkit/hypervisors, then PREFIX/share/vbdkit/hypervisors.
[[nodiscard]] Result<Profile> load_profile(const std::string &name, const std::vector<std::string> &directories);

struct GuestDisk {
  std::string text;                 ///< rendered for the dialect, or for device_disk
};
/// The config file's text; every value is quoted for the file, and what can't be quoted is refused.
[[nodiscard]] Result<std::string> render_config(const Profile &profile, const std::string &instance,
                                                const std::map<std::string, std::string> &parameters,
                                                const std::vector<GuestDisk> &disks);

}  // namespace vbd::hypervisor
