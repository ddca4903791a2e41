// SPDX-License-Identifier: MIT
// What start, stop and the settling of both share. Private to this room. The caller holds the operation lock
// of the instance's directory wherever something changes.
//
// What stands where, beside the attachments of the disks (core/device/attach.cpp):
//   operation, lease, wanted_up    instance.yaml: what goes on, whose the images are, what shall be
//   note (GuestRecord), guard      RUN_DIR/instances/UUID: which guest was begun; `up` once all of it is true
//
//   state      operation  note          guest           left by
//   down       -          -             -               start: operation and lease, then the note -> starting
//   starting   start      not up        perhaps         it runs and holds its locks: note up, operation gone
//   -> up
//                                                       anything fails: guest destroyed, clear() -> down
//   up         -          up            runs            stop: -> stopping
//   ended      -          up            -, or powered   start, stop: cleared up first, then as from down
//                                       itself off
//   stopping   stop       up            perhaps         it is gone: clear() -> down
//                                                       it goes on after the time-out: operation gone -> up
//
// clear() goes in the order disks, note, lease, operation: cut anywhere, what is left still says what to do.
//
// Who repairs: whoever opens the instance for work next (settle_live), by what the hypervisor says and not by
// the record. Started whole (note up, guest there): up, also where a stop was cut before it did anything.
// Else destroy(), which finds by the guard's lock also a guest whose process nobody wrote down, and clear();
// whether it shall run again is kept unless a stop for good was cut. Another node's operation or lease is
// refused before any of that; an instance that can't be read any more is stopped by its note alone
// (stop_lost), its disks come back through 'vbd cluster verify --repair'.
#pragma once

#include <optional>
#include <string>

#include "manager/hypervisor/guest.hpp"
#include "manager/instance/guest_record.hpp"
#include "manager/instance/live.hpp"

namespace vbd::instance {

/// In the details of a stop: it shall run again, also when this stop is finished by another command.
inline constexpr const char *kRemembered = "remembered";

/// A handle of the guest that is noted; `profile` must outlive it.
[[nodiscard]] hypervisor::Guest guest_of(const Manager &manager, const hypervisor::Profile &profile,
                                         const GuestRecord &record);
/// The profile that the guest was started with, whatever the configuration says by now.
[[nodiscard]] Result<hypervisor::Profile> profile_of(const Manager &manager, const GuestRecord &record);

/// Reads the note of the guest into `guest` and asks the hypervisor; absent without one. Where there is no
/// note the guest is looked for in the world: RUN_DIR is never the only word.
[[nodiscard]] Result<hypervisor::GuestStatus> look(const Manager &manager, const InstanceRecord &record,
                                                   std::optional<GuestRecord> &guest);
/// What the hypervisor says of a guest that is noted.
[[nodiscard]] Result<hypervisor::GuestStatus> status_of(const Manager &manager, const GuestRecord &record);
/// There, and not powered off by itself.
[[nodiscard]] bool is_up(const hypervisor::GuestStatus &status);

/// kOtherNode, or kLeasedElsewhere (device).
[[nodiscard]] Result<void> check_here(const Manager &manager, const InstanceRecord &record);

/// Ends the guest, and what a start that was killed has left running without a note. Gone already: fine.
[[nodiscard]] Result<void> destroy(const Manager &manager, const std::optional<GuestRecord> &record,
                                   const std::string &uuid);
/// No guest is there any more: takes the disks back, drops the note of it, the operation and the lease.
[[nodiscard]] Result<void> clear(const Manager &manager, Work &work, bool wanted_up);

}  // namespace vbd::instance
