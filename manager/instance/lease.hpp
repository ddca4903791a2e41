// SPDX-License-Identifier: MIT
// `vbd lease`: the lease of an image or of an instance, shown and broken. What it is: core/device/lease.hpp.
#pragma once

#include <optional>
#include <string>

#include "core/base/result.hpp"
#include "core/device/lease.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {

/// What a word on the command line means: a name, a path, or a logical_id.
struct LeaseTarget {
  std::string shown;  ///< for people and for commands
  sys::Fd directory;
  std::string path;  ///< of that directory
  std::string file;  ///< "" the instance in it, or the directory as such
  [[nodiscard]] device::LeaseSpot spot() const { return {directory.get(), path, file}; }
};
[[nodiscard]] Result<LeaseTarget> find_lease_target(const Manager &manager, const std::string &word);

/// Takes the lease from whoever has it, an unfinished operation from the node that began it, and what a node
/// that died while it wrote a lease left. Refused, kHeldByOther (device) and the like, while this host uses
/// the image: that is asked of the records and of the host, not of the lease. Empty: nobody has it.
[[nodiscard]] Result<Plan> break_lease(const Manager &manager, const LeaseTarget &target, bool dry_run);

}  // namespace vbd::instance
