// SPDX-License-Identifier: MIT
// Guests whose instance can't be read: its storage or its instance.yaml is gone.
#include "core/base/text.hpp"
#include "manager/instance/live_parts.hpp"

namespace vbd::instance {

using text::cat;

std::vector<LostGuest> lost_guests(const Manager &manager, const std::set<std::string> &readable_uuids) {
  std::vector<LostGuest> lost;
  const auto guests = noted_guests(manager.settings);
  if (!guests) return lost;
  for (const GuestRecord &guest : *guests) {
    if (readable_uuids.contains(guest.uuid)) continue;
    const auto status = status_of(manager, guest);
    LostGuest found{guest.uuid, guest.name, {}, status && !status->there()};
    found.what = found.ended ? "what is left of a guest whose instance is not known"
                             : cat("its guest runs, and its instance can't be read: 'vbd instance stop ",
                                   text::printable(guest.name), "' ends it");
    lost.push_back(std::move(found));
  }
  return lost;
}

Result<void> forget_guest(const Manager &manager, const LostGuest &guest) {
  return drop_guest(manager.settings, guest.uuid);
}

}  // namespace vbd::instance
