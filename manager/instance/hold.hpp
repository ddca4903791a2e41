// SPDX-License-Identifier: MIT
// A running guest held still for a moment, so that its disks can be looked at as of one moment. Not
// thread-safe; safe against other processes.
#pragma once

#include <functional>

#include "core/base/result.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::instance {

/// Pauses the guest where its hypervisor can (QEMU writes out all that it has by then), does the work, and
/// lets it go on, whatever happened. One that does not run, or is paused already, stays as it is. While it is
/// held the catalog says so, in an operation "export": when vbd is killed then, the next command on the
/// instance lets it go on. The signals that end a program wait: kHelperCancelled (sys) afterwards.
[[nodiscard]] Result<void> hold_guest(const Manager &manager, Work &work,
                                      const std::function<Result<void>()> &meanwhile);

/// Lets a guest go on that a killed run holds. The lock is held.
[[nodiscard]] Result<void> release_held(const Manager &manager, const InstanceRecord &record);

}  // namespace vbd::instance
