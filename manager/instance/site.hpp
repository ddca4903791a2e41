// SPDX-License-Identifier: MIT
// An instance's directory while a verb works on it: open, its operation lock held. It appears with its
// instance.yaml in one rename and goes in one rename, so that what a killed run leaves is known by its name
// or by its record.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "core/sys/fd.hpp"
#include "core/sys/locks.hpp"
#include "manager/instance/catalog.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {

struct Site {
  std::string path;
  sys::Fd directory;
  std::optional<sys::OperationLock> lock;
};

/// A file that an unfinished operation made, when nobody uses it. A missing one is fine.
[[nodiscard]] Result<void> remove_created(const config::Settings &settings, const Site &site,
                                          const std::string &name);

/// An existing directory, opened and locked (on a read-only filesystem under RUN_DIR). Leaves a lock file
/// where there was none.
[[nodiscard]] Result<Site> open_site(const config::Settings &settings, const std::string &path,
                                     std::chrono::milliseconds patience);

/// A new directory with lock file and instance.yaml, which says what is going on. The names lock is held.
[[nodiscard]] Result<Site> make_site(const config::Settings &settings, const InstanceRecord &record);
/// The same in an existing directory. What is ours is added to the record's operation; refuses when one of
/// its files has come into being.
[[nodiscard]] Result<Site> enter_site(const config::Settings &settings, InstanceRecord &record);

enum class NamesLock { held, wanted };  ///< whether the caller has Catalog::lock_names()

/// Undoes an unfinished add: the files of its operation, the pointer, instance.yaml, and the directory that
/// it made.
[[nodiscard]] Result<void> undo_add(const Manager &manager, Site &site, const InstanceRecord &record,
                                    NamesLock names);
/// Pointer, instance.yaml, lock file, and the directory when nothing else is in it.
[[nodiscard]] Result<void> forget_site(const Manager &manager, Site &site, const InstanceRecord &record,
                                       NamesLock names);

/// A directory under a temporary name that a killed run left; refused when there is anything in it that is
/// not ours. The names lock is held.
[[nodiscard]] Result<void> remove_leftover(const config::Settings &settings, const std::string &path);
/// All of those in the directory that `path` lies in; what can't be removed stays.
void sweep_leftovers(const config::Settings &settings, const std::string &path);
/// Temporary files of dead processes.
[[nodiscard]] Result<void> remove_stale_files(int directory);

/// Deletes the files that the operation of `record` lists (those of disks through their filetype), then
/// forgets.
[[nodiscard]] Result<void> finish_remove(const Manager &manager, Site &site, const InstanceRecord &record,
                                         bool assume_unused, NamesLock names);

/// Nobody has the image: no attachment, no lock, no user. A missing image is fine.
[[nodiscard]] Result<void> check_disk_unused(const Manager &manager, const InstanceRecord &record,
                                             const DiskRecord &disk, bool assume_unused);

/// No other node's lease, and check_disk_unused for each disk.
[[nodiscard]] Result<void> check_all_unused(const Manager &manager, const InstanceRecord &record,
                                            bool assume_unused);

[[nodiscard]] inline LogicalId logical_id(const InstanceRecord &record, const DiskRecord &disk) {
  return {disk.driver, disk.filetype, record.directory + "/" + disk.file};
}

}  // namespace vbd::instance
