// SPDX-License-Identifier: MIT
// Guests that RUN_DIR does not know: it was emptied, or the configuration names another one than when they
// were started. The instance's lease says that there may be one; the lock that each guest's process inherits,
// or the toolstack's list, says whether there is. Private to this room.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/sys/guard.hpp"
#include "manager/instance/guest_record.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {

/// This node has the instance's lease, since this boot: without that nobody runs it here.
[[nodiscard]] bool may_run_here(const config::Settings &settings, const InstanceRecord &record);

/// Processes that hold the lock of a guest of vbd's, of any RUN_DIR.
[[nodiscard]] std::vector<sys::LockedFile> guest_processes();
/// "UUID" of "/run/vbdkit/instances/UUID/guard".
[[nodiscard]] std::string uuid_of_guard(const std::string &path);

/// The instance's guest among them; its `directory` is where its files are or were.
[[nodiscard]] std::optional<GuestRecord> guest_among(const std::vector<sys::LockedFile> &processes,
                                                     const Manager &manager, const InstanceRecord &record);
/// What the note of a guest under the configured toolstack would be; nothing when that is none, or not here.
[[nodiscard]] std::optional<GuestRecord> toolstack_guest(const Manager &manager,
                                                         const InstanceRecord &record);

/// A guest that nobody noted, as the note of it would be; nothing when there is none.
[[nodiscard]] Result<std::optional<GuestRecord>> find_unnoted(const Manager &manager,
                                                              const InstanceRecord &record);
/// kUnrecorded (device) when somebody writes to an image of the instance that is attached for nobody.
[[nodiscard]] Result<void> refuse_unrecorded(const Manager &manager, const InstanceRecord &record);

/// Who writes to the image though no record says that it is attached, in words; "" nobody, or not to be seen.
[[nodiscard]] std::string unrecorded_writers(const Manager &manager, const LogicalId &id);
/// What runs for vbd though nothing in RUN_DIR says so: guests and drivers' servers. `known_uuids` are those
/// of the instances of this host.
[[nodiscard]] std::vector<Problem> unrecorded_processes(const Manager &manager,
                                                        const std::set<std::string> &known_uuids);

}  // namespace vbd::instance
