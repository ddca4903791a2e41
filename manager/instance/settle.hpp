// SPDX-License-Identifier: MIT
// What a verb that changes an instance begins and ends with: the instance found, locked and read again, what
// a killed run left finished or undone, the operation recorded before its first change and taken out after
// its last. Each verb that records an operation has a line in the table of settle.cpp. Not thread-safe; safe
// against other processes.
#pragma once

#include <chrono>
#include <string>

#include "core/base/result.hpp"
#include "manager/instance/catalog.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/instance/site.hpp"

namespace vbd::instance {

inline constexpr std::chrono::milliseconds kWorkPatience{10000};

/// One instance during one verb: its directory locked, its record as read under that lock.
struct Work {
  Site site;
  InstanceRecord record;
};

/// Finishes or undoes what a killed run left in `path` and is sure to be of `name`; kLocked (sys) while it
/// still runs. The names lock is held. True when there was something.
[[nodiscard]] Result<bool> settle(const Manager &manager, const std::string &name, const std::string &path,
                                  bool assume_unused);

/// What a killed run had started (a script, its clean-up) keeps the directory's lock until it has ended:
/// waits for that, at most kWorkPatience. Before the names lock, for those who hold that do not wait.
void wait_for_rest(const config::Settings &settings, const std::string &path);

/// No instance of that name can be read: what runs or is attached for it is to be looked for elsewhere.
[[nodiscard]] bool is_lost(const Error &error);

/// kForeign or kUnreachable for an instance that nothing may be done with.
[[nodiscard]] Result<void> check_workable(const Entry &entry);

/// kLeasedElsewhere (device) when another node may write the instance's disks.
[[nodiscard]] Result<void> check_unleased(const Manager &manager, const InstanceRecord &record);

/// The record under the directory's lock, for what was read before may be old: kChanged when another instance
/// is there now; kOperationElsewhere (device) when another node works on it, or was killed at that: nobody
/// finishes or undoes what runs elsewhere.
[[nodiscard]] Result<InstanceRecord> read_again(const Manager &manager, const Site &site,
                                                const InstanceRecord &before);

/// The instance `name` of this host, workable, without an unfinished operation: what a killed run left is
/// settled first (with `dry_run` it is kInterrupted, for nothing may change). Takes the names lock only for
/// that.
[[nodiscard]] Result<Entry> find_settled(const Manager &manager, const std::string &name, bool dry_run);

/// find_settled, then its directory locked and its record read again; kLocked (sys) when another verb works
/// on it for longer than kWorkPatience.
[[nodiscard]] Result<Work> open_work(const Manager &manager, const std::string &name);

/// Writes the record with the operation in it: before the first change.
[[nodiscard]] Result<void> begin_operation(const Manager &manager, Work &work, OperationRecord operation);
/// Writes `work.record` without its operation: after the last change.
[[nodiscard]] Result<void> end_operation(const Manager &manager, Work &work);

}  // namespace vbd::instance
