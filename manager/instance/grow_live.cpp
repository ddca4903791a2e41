// SPDX-License-Identifier: MIT
// A running guest hears that a disk has grown.
#include "core/base/text.hpp"
#include "manager/instance/grow.hpp"
#include "manager/instance/live_parts.hpp"

namespace vbd::instance {

Result<std::optional<RunningGuest>> running_guest(const Manager &manager, const InstanceRecord &record) {
  std::optional<GuestRecord> guest;
  VBD_TRY_ASSIGN(auto status, look(manager, record, guest));
  if (!guest || !status.there()) return std::optional<RunningGuest>{};
  VBD_TRY_ASSIGN(auto profile, profile_of(manager, *guest));
  return std::optional(RunningGuest{std::move(*guest), std::move(profile)});
}

Result<void> tell_size(const Manager &manager, const RunningGuest &guest, const DiskRecord &disk,
                       std::uint64_t size) {
  auto told = hypervisor::tell_guest(
      guest_of(manager, guest.profile, guest.record), guest.profile.commands.grow,
      {{"vdev", hypervisor::guest_vdev(guest.profile, disk.vdev)}, {"size", std::to_string(size)}});
  if (!told) return told.error().at(text::cat("grow ", disk.vdev, " of ", guest.record.name));
  return {};
}

}  // namespace vbd::instance
