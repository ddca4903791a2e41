// SPDX-License-Identifier: MIT
// What comes with an export or with another host's instance.yaml brings no word into a privileged argument:
// the profile says which parameters name nothing of this host, and what such a value must look like; all else
// is left out, and told, until an operator gives it. Pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/model/nic.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::hypervisor {

/// One parameter, as it would be given: "-H", "kernel_path", "/boot/vmlinuz"; of a card "--net 0", "link",
/// "br0".
struct BroughtWord {
  std::string option, name, value;
  std::string reason = {};  ///< left out: "host" it may name something of this host, "unknown" to the profile
};
struct Brought {
  std::vector<BroughtWord> taken, left_out;
};

using Parameters = std::map<std::string, std::string>;

/// Operators say what they trust; a parameter that is given wins, and is none that came from outside.
struct Outside {
  const Profile &profile;
  bool trust = false;
  Brought &brought;

  /// Of -B or -H: `given` and what may be taken of `found`.
  [[nodiscard]] Parameters take(const std::string &option, const Parameters &found, Parameters given) const;
  /// Of -O. What a guest OS definition makes of them is not known here: a value with a slash may name a file.
  [[nodiscard]] Parameters take_os(const Parameters &found, Parameters given) const;
  /// A card keeps what the profile calls portable, and is else as one of --net without words.
  [[nodiscard]] std::vector<NicRecord> take(const std::vector<NicRecord> &found) const;
};

/// "number", "word", "text" or values with a bar between them.
[[nodiscard]] bool is_form(const std::string &form);

/// What was taken and what was left out, for people: words that can be given again as they stand.
[[nodiscard]] std::vector<std::string> describe(const Brought &brought);

}  // namespace vbd::hypervisor
