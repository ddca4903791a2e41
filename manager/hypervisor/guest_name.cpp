// SPDX-License-Identifier: MIT
// What a tool that is given a guest's name may take it for instead.
#include <algorithm>

#include "core/base/text.hpp"
#include "manager/hypervisor/commands_yaml.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::hypervisor {
namespace {

constexpr std::size_t kUuidLength = 36;

}  // namespace

bool is_ambiguous_name(std::string_view name) {
  const auto in = [name](std::string_view allowed) {
    return name.find_first_not_of(allowed) == std::string_view::npos;
  };
  return in("0123456789") || (name.size() == kUuidLength && in("0123456789abcdefABCDEF-"));
}

Result<void> check_guest_name(const Profile &profile, const std::string &name) {
  if (!is_ambiguous_name(name) || !says_word(profile.commands, "{name}")) return {};
  return Error(kBadGuestName,
               text::cat("instance ", text::printable(name), ": the commands of the ", profile.name,
                         " profile name guests, and its tool may take this name for another guest's id"),
               "choose a name with a letter in it, or let the profile say {id} (status_id)");
}

}  // namespace vbd::hypervisor
