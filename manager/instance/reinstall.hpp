// SPDX-License-Identifier: MIT
// A guest OS installed anew on an instance's disks. Not thread-safe; safe against other processes.
#pragma once

#include <map>
#include <string>

#include "core/base/result.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kNoOs{"instance.no_os", Exit::usage};

struct ReinstallSpec {
  std::string name;
  std::string os;                                    ///< "" as recorded
  std::map<std::string, std::string> os_parameters;  ///< over the recorded ones; with another OS: instead
};
/// What is on the disks is lost. Refused while one of them is used by anybody.
[[nodiscard]] Result<Plan> reinstall(const Manager &manager, const ReinstallSpec &spec, bool dry_run);

/// After a killed one: the disks are detached; what is on them is an unfinished installation.
[[nodiscard]] Result<void> settle_reinstall(const Manager &manager, Work &work);

}  // namespace vbd::instance
