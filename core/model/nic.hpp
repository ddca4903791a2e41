// SPDX-License-Identifier: MIT
// Network cards of an instance: pure data, kept and handed on; vbdkit configures no network itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"

namespace vbd {

inline constexpr ErrorKind kBadNic{"usage.nic", Exit::usage};

inline constexpr std::size_t kMaxNics = 8;

/// "" means: not set.
struct NicRecord {
  std::string mac;      ///< "aa:00:00:12:34:56", lower case
  std::string ip;       ///< an IPv4 or IPv6 address
  std::string mode;     ///< one of nic_modes()
  std::string link;     ///< bridge, switch or routing table; unset: the hypervisor's own
  std::string network;  ///< a name, kept for those who manage networks
  std::string name;     ///< a name, for people
  std::string vlan;     ///< tag and trunks: ".100", ".100:200"
  bool operator==(const NicRecord &) const = default;
};

/// bridged, routed, openvswitch, user.
[[nodiscard]] const std::vector<std::string> &nic_modes();

/// Six bytes in lower-case hex with colons, of a single card and not all zero.
[[nodiscard]] bool is_mac(std::string_view text);
/// One field by its name ("mac", "ip", ...): kBadNic says what is expected. An empty value is fine for all
/// but mac and mode.
[[nodiscard]] Result<void> check_nic_field(std::string_view field, const std::string &value);
[[nodiscard]] Result<void> check_nic(const NicRecord &nic);

/// The member called `field`, or null.
[[nodiscard]] std::string *nic_field(NicRecord &nic, std::string_view field);
[[nodiscard]] const std::string *nic_field(const NicRecord &nic, std::string_view field);
/// In the order in which they are written.
[[nodiscard]] const std::vector<std::string> &nic_fields();

}  // namespace vbd
