// SPDX-License-Identifier: MIT
// Hypervisor profiles: data, not code. A YAML file names the dialect, the template of the guest's config file
// and how a disk is written there. Format: docs/hypervisor-profiles.md. Read-only after loading; thread-safe.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/model/nic.hpp"

namespace vbd::hypervisor {

inline constexpr ErrorKind kNoProfile{"hypervisor.not_found", Exit::not_found};
/// A profile names programs that run as root: nobody else may be able to write to it or to exchange it.
inline constexpr ErrorKind kUntrustedProfile{"hypervisor.untrusted", Exit::refused};
inline constexpr ErrorKind kBadProfile{"hypervisor.profile", Exit::usage};
inline constexpr ErrorKind kBadParameter{"hypervisor.parameter", Exit::usage};
inline constexpr ErrorKind kCannotQuote{"hypervisor.quote", Exit::refused};
inline constexpr ErrorKind kCannotRun{"hypervisor.cannot_run", Exit::refused};
inline constexpr ErrorKind kBadGuestName{"hypervisor.name", Exit::refused};

/// What starts guests and asks for them. Each word may hold {name} {config} {run_dir} {control} {vdev}
/// {size}, of a toolstack {id}; the word {arguments} alone becomes the words of the config file.
struct Commands {
  /// none: the profile only writes config files. process: the guest is the process that `start` is.
  /// toolstack: `start` returns when the guest is there, and `status` knows it.
  enum class Kind { none, process, toolstack };
  Kind kind = Kind::none;
  bool qmp =
      false;  ///< process: QEMU's monitor at {control}; stop, reset, pause, resume and grow are its commands
  std::vector<std::string> start, paused, stop, destroy, reboot, reset, pause, resume, status, grow;
  std::vector<std::string> needs;             ///< paths that are there where this hypervisor runs
  std::size_t status_skip = 0;                ///< lines at the top of the answer that are no guests
  std::size_t status_word = 2;                ///< of a line, from 1: the state; the first word is the name
  std::size_t status_id = 0;                  ///< likewise the number that {id} is; 0: there is none
  std::size_t status_uuid = 0;                ///< likewise the UUID that the config gave it; 0: there is none
  std::map<std::string, std::string> states;  ///< the hypervisor's word -> "running", "error: why", ...
  bool opens_files = false;   ///< a driver's own string is given to it, and it opens the image itself
  bool locks_images = false;  ///< and holds QEMU's locks on what it opened
  std::chrono::seconds start_timeout{120};
};

struct Profile {
  std::string name, summary;
  std::string dialect;          ///< "xl": what drivers are asked to render
  std::string vdev_prefix;      ///< optional: "xvd" turns sda1 into xvda1 for the guest; "" leaves names
  std::string quote;            ///< how values are written into the config: "xl" or "shell-args"
  std::string device_disk;      ///< a disk given by its node: {node} {vdev} {access}
  std::string disk = "{disk}";  ///< one disk within {disks}; {disk} is quoted
  std::string disk_separator = ", ";  ///< between two of them
  /// How a network card is written, by its mode: {mac} {ip} {link} {vlan} {network} {name} {index}. A piece
  /// between commas whose value is not set is left out.
  std::map<std::string, std::string> nics;
  std::string nic = "{nic}";  ///< one card within {nics}; {nic} is quoted
  std::string nic_separator = ", ";
  std::string no_nics;  ///< {nics} of an instance without cards; "": no value
  std::string config;   ///< template: {name} {disks} and parameters; see render_config
  std::map<std::string, std::string> defaults;  ///< parameters of -B and -H that have a default
  /// Parameters that name nothing of this host, with the form of their values (outside.hpp); all others do.
  std::map<std::string, std::string> portable;
  std::set<std::string> portable_nics;  ///< likewise fields of network cards
  Commands commands;
};

/// NAME.yaml in the first of `directories` that has it (/etc/vbdkit/hypervisors, then
/// PREFIX/share/vbdkit/hypervisors), or the file itself when `name` is a full path.
[[nodiscard]] Result<Profile> load_profile(const std::string &name,
                                           const std::vector<std::string> &directories);

/// kBadGuestName when commands of the profile would say `name`, and tools take it for something else: a
/// number is a guest's id, a UUID another guest.
[[nodiscard]] Result<void> check_guest_name(const Profile &profile, const std::string &name);
/// Whether tools may take it for something else than a name.
[[nodiscard]] bool is_ambiguous_name(std::string_view name);

/// The text of a profile; `path` is for messages.
[[nodiscard]] Result<Profile> parse_profile(std::string_view content, const std::string &name,
                                            const std::string &path);

/// "qemu" of "qemu" and of "/etc/vbdkit/hypervisors/qemu.yaml".
[[nodiscard]] std::string short_name(const std::string &configured);

/// What Ganeti, and with it guest OS definitions, call the configured hypervisor: "xen-pvm", "xen-hvm",
/// "kvm"; any other by its own name.
[[nodiscard]] std::string outside_name(const std::string &configured,
                                       const std::map<std::string, std::string> &parameters);

/// What -B and -H may set: the template's parameters and those with a default.
[[nodiscard]] std::set<std::string> parameter_names(const Profile &profile);
/// kBadParameter suggests the nearest name. `where` begins the error ("-B").
[[nodiscard]] Result<void> check_parameters(const Profile &profile,
                                            const std::map<std::string, std::string> &parameters,
                                            const std::string &where);

/// "sda1" as the guest's config names it.
[[nodiscard]] std::string guest_vdev(const Profile &profile, const std::string &vdev);
/// A disk that the guest gets as a block device node of this host: the profile's device_disk filled in.
[[nodiscard]] Result<std::string> node_disk(const Profile &profile, const std::string &node,
                                            const std::string &vdev, bool read_only);

/// kBadParameter when the profile has no way to write a card of this mode. `where` begins the error.
[[nodiscard]] Result<void> check_nic_mode(const Profile &profile, const std::string &mode,
                                          const std::string &where);

struct GuestDisk {
  std::string text;       ///< rendered for the dialect, or by node_disk
  std::string vdev = {};  ///< as the guest's config names it
  bool read_only = false;
};
/// The config file's text. Every value is quoted for the file, and what can't be quoted is refused
/// (kCannotQuote). A line of the template whose parameter has no value is left out. `uuid`: what {uuid} is.
[[nodiscard]] Result<std::string> render_config(const Profile &profile, const std::string &instance,
                                                const std::map<std::string, std::string> &parameters,
                                                const std::vector<GuestDisk> &disks,
                                                const std::vector<NicRecord> &nics = {},
                                                const std::string &uuid = {});

}  // namespace vbd::hypervisor
