// SPDX-License-Identifier: MIT
// What is done with the disks of an instance that is there: grown, given to the host, taken back. Each verb
// makes a plan, which a dry run prints; a failure undoes what was done, and what a killed run left is
// finished or undone by the next verb (settle.hpp). Not thread-safe; safe against other processes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kNoDisk{"instance.no_disk", Exit::not_found};
inline constexpr ErrorKind kWouldShrink{"instance.would_shrink", Exit::usage};
inline constexpr ErrorKind kStillSmall{"instance.still_small", Exit::failed};
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
/// The image, the device that it is attached as, the guest that runs with it, and the catalog. An absolute
/// size that it has already is fine.
[[nodiscard]] Result<Plan> grow_disk(const Manager &manager, const GrowSpec &spec, bool dry_run);

/// One --disk of modify.
struct DiskChange {
  enum class What { add, remove, mode, size };
  What what = What::add;
  std::optional<std::size_t> index;  ///< none: behind the last; of remove: the last
  DiskSpec disk;
};
/// "add:size=4G", "2:add:size=4G", "remove", "remove:1", "1:remove", "0:mode=ro", "0:size=actual"
[[nodiscard]] Result<DiskChange> parse_disk_change(const std::string &text);

struct ModifySpec {
  std::string name;
  std::vector<DiskChange> changes;  ///< one after the other: each counts the disks as those before left them
  bool assume_unused = false;
};
/// All of the changes or none. Disks that stay keep their names; a new one gets the first free one.
[[nodiscard]] Result<Plan> modify(const Manager &manager, const ModifySpec &spec, bool dry_run);

struct RegisterSpec {
  std::string directory;
  std::string as;  ///< a new name, and with it a new UUID; "": the record's
  /// backend, hypervisor, os_parameters, nics: instead of what its instance.yaml says.
  AddSpec given;
  bool no_nics = false;
  bool trust = false;  ///< its parameters are taken, whatever they name
};
/// A directory that was copied or moved becomes an instance of this host: its record says so, and loses the
/// parameters that may name something of this host. Kept UUIDs of a former place are replaced, which must be
/// empty.
[[nodiscard]] Result<FromOutside> register_directory(const Manager &manager, const RegisterSpec &spec,
                                                     bool dry_run);

/// kForeignWords when this instance.yaml, which this host does not know, has parameters that may name
/// something of it.
inline constexpr ErrorKind kForeignWords{"instance.foreign_parameters", Exit::refused};
[[nodiscard]] Result<void> check_names_nothing_here(const Manager &manager, const InstanceRecord &record);

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
/// Gives up what disk_holder() has; other holders keep theirs. Nothing attached is fine. kRunning while a
/// guest is there; with `force` what that has open stays (disk.busy), and the rest goes.
[[nodiscard]] Result<Plan> deactivate_disks(const Manager &manager, const std::string &name, bool force,
                                            bool dry_run);

}  // namespace vbd::instance
