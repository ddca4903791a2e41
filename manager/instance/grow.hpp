// SPDX-License-Identifier: MIT
// What settle needs of grow-disk, and how a guest hears of it. Private to this room.
#pragma once

#include <cstdint>
#include <optional>

#include "manager/hypervisor/profile.hpp"
#include "manager/instance/guest_record.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::instance {

/// The catalog gets the size that the image has, and an attached device shows it. Sure to be a grow-disk.
[[nodiscard]] Result<void> settle_grow(const Manager &manager, Work &work);

/// A guest that is there, under the profile that it was started with.
struct RunningGuest {
  GuestRecord record;
  hypervisor::Profile profile;
};
/// None when the instance does not run on this host.
[[nodiscard]] Result<std::optional<RunningGuest>> running_guest(const Manager &manager,
                                                                const InstanceRecord &record);
/// The disk has `size` bytes, or shall have them where the guest opened the image itself. A profile without a
/// command for it: the hypervisor looks at its devices by itself.
[[nodiscard]] Result<void> tell_size(const Manager &manager, const RunningGuest &guest,
                                     const DiskRecord &disk, std::uint64_t size);

}  // namespace vbd::instance
