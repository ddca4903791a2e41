// SPDX-License-Identifier: MIT
// The scripts of an instance's guest OS definition, run on its disks: attached for "instance:NAME", detached
// again whatever happens. The directory's operation lock is held all the while, by the script's supervisor
// too: when vbd is killed, the next verb gets it once the script is gone. Not thread-safe.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/site.hpp"
#include "manager/os/scripts.hpp"

namespace vbd::instance {

/// In OperationRecord::details: a script of the guest OS definition that the operation runs.
inline constexpr const char *kScriptDetail = "script";

/// What a script is told; `devices` may be empty. `record` must outlive the answer.
[[nodiscard]] Result<os::Guest> describe_guest(const Manager &manager, const InstanceRecord &record,
                                               std::vector<std::string> devices);

/// -O by `verify`.
[[nodiscard]] Result<void> verify_parameters(const Manager &manager, const os::Definition &definition,
                                             const InstanceRecord &record);

/// `script` with all disks attached, then detached. `record` has its operation, with kScriptDetail in it. A
/// signal ends the script: kHelperCancelled (sys).
using Script = std::function<Result<void>(const os::Call &call, const os::Guest &guest)>;
[[nodiscard]] Result<void> run_on_disks(const Manager &manager, const Site &site,
                                        const InstanceRecord &record, const Script &script);

[[nodiscard]] Result<void> run_install(const Manager &manager, const Site &site, const InstanceRecord &record,
                                       const os::Definition &definition, bool reinstall);

/// What a killed run_on_disks left attached; nothing when its operation runs no script. The lock is held.
[[nodiscard]] Result<void> detach_left(const Manager &manager, const InstanceRecord &record);

/// Ends an interrupted operation that changed nothing but what its script had attached, and held its guest:
/// an export.
[[nodiscard]] Result<void> settle_export(const Manager &manager, Work &work);

}  // namespace vbd::instance
