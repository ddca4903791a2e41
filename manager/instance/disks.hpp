// SPDX-License-Identifier: MIT
// What is done with the disks of an instance that is there: grown, given to the host, taken back. Each verb
// makes a plan, which a dry run prints; a failure undoes what was done, and what a killed run left is
// finished or undone by the next verb (settle.hpp). Not thread-safe; safe against other processes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kNoDisk{"instance.no_disk", Exit::not_found};
inline constexpr ErrorKind kWouldShrink{"instance.would_shrink", Exit::usage};
inline constexpr ErrorKind kCannotGrowAttached{"instance.grow_attached", Exit::busy};

/// The holder of what is attached for an instance, whoever asked for it: start or activate-disks.
[[nodiscard]] std::string disk_holder(const InstanceRecord &record);

/// A disk of the record by its number ("0", "disk/0"), or by its name ("sda"). kNoDisk names those that there
/// are.
[[nodiscard]] Result<std::size_t> disk_index(const InstanceRecord &record, const std::string &word);

struct GrowSpec {
  std::string name, disk;
  std::uint64_t amount = 0;  ///< bytes, a multiple of 512
  bool absolute = false;     ///< `amount` is the new size, not what is added
  bool assume_unused = false;
};
/// The image, the device that it is attached as, and the catalog. An absolute size that it has already is
/// fine.
[[nodiscard]] Result<Plan> grow_disk(const Manager &manager, const GrowSpec &spec, bool dry_run);

struct ActiveDisk {
  std::size_t index = 0;
  LogicalId id;
  std::string node;  ///< "/dev/loop3"; "" in a dry run
};
struct Activated {
  std::string node;  ///< this host
  std::vector<ActiveDisk> disks;
  Plan plan;
};
/// Attaches every disk for disk_holder(); those that are attached so already keep their node.
[[nodiscard]] Result<Activated> activate_disks(const Manager &manager, const std::string &name, bool dry_run);
/// Gives up what disk_holder() has; other holders keep theirs. Nothing attached is fine.
[[nodiscard]] Result<Plan> deactivate_disks(const Manager &manager, const std::string &name, bool dry_run);

}  // namespace vbd::instance
