// SPDX-License-Identifier: MIT
// The lease: which node may write an image, said where the image lies, for hosts whose locks do not reach
// each other. It is in the instance.yaml that lists the image, else in .vbdkit-lease.yaml beside it
// (docs/lease.md). Written before the first writable use, given up after the last, by whoever holds the
// operation lock of the directory; between nodes a name that only one can make (sys::NameLock) keeps two
// takers apart. Not thread-safe; safe against other processes and other hosts.
#pragma once

#include <optional>
#include <string>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/model/instance_record.hpp"

namespace vbd::device {

inline constexpr const char *kInstanceFile = "instance.yaml";
inline constexpr const char *kLeaseFile = ".vbdkit-lease.yaml";

/// Another node has the lease, or is at work on the instance that lists the image.
inline constexpr ErrorKind kLeasedElsewhere{"lease.other_node", Exit::busy};
inline constexpr ErrorKind kOperationElsewhere{"instance.operation_elsewhere", Exit::busy};

/// Nothing when the directory has none. A newer schema is an error, but not for a reader.
[[nodiscard]] Result<std::optional<InstanceRecord>> read_instance(int directory, const std::string &path,
                                                                  bool read_only);
/// kForeignDirectory when `record` was written for another directory than the one that is open.
[[nodiscard]] Result<void> check_home(const InstanceRecord &record, int directory, const std::string &path);
/// Whether it has a disk in the file of that name.
[[nodiscard]] bool lists(const InstanceRecord &record, const std::string &file);

/// instance.yaml replaced whole. What another node wrote into it stands: kLeasedElsewhere or
/// kOperationElsewhere, unless that is just what `overrule` has. An operation without a node gets this one;
/// the generation never gets smaller. The caller holds the operation lock of the directory.
[[nodiscard]] Result<void> replace_instance(int directory, const std::string &path, InstanceRecord record,
                                            const config::Settings &settings,
                                            const InstanceRecord *overrule = nullptr);

/// Makes sure that a record of `bytes` in this directory can be replaced on a full filesystem too. kNoSpace
/// when not. The caller holds the operation lock.
[[nodiscard]] Result<void> keep_room(int directory, const std::string &path, std::size_t bytes,
                                     const config::Settings &settings);
/// What is kept for that goes, when no record is left in the directory.
[[nodiscard]] Result<void> drop_spares(int directory);

/// An operation that does not say where it runs runs here.
[[nodiscard]] Result<InstanceRecord> with_origin(InstanceRecord record, const config::Settings &settings);

/// Another node has it now.
[[nodiscard]] bool is_elsewhere(const Lease &lease, const config::Settings &settings);
/// This node has it, since this boot.
[[nodiscard]] Result<bool> is_ours(const Lease &lease, const config::Settings &settings);
/// The next taking of it by this node.
[[nodiscard]] Result<Lease> next_lease(const Lease &lease, const config::Settings &settings,
                                       const std::string &holder);
/// kLeasedElsewhere; `what` is for people, `target` for `vbd lease break`.
[[nodiscard]] Result<void> check_lease(const Lease &lease, const config::Settings &settings,
                                       const std::string &what, const std::string &target);
/// kOperationElsewhere when another node has begun an operation on the instance and not ended it.
[[nodiscard]] Result<void> check_operation(const InstanceRecord &record, const config::Settings &settings,
                                           const std::string &what);

/// An image by its directory, which is open, and its name there; no name: the instance in that directory.
struct LeaseSpot {
  int directory = -1;
  std::string directory_path, file;
};

struct SeenLease {
  Lease lease;
  std::string where;                       ///< path of the file that says it
  std::optional<InstanceRecord> instance;  ///< of the directory, when it lists the image
  std::string changing;                    ///< the node that writes it just now, or was killed at that
};
/// One of another node before one of ours before none. With `lenient` an instance.yaml that can't be read is
/// somebody else's file.
[[nodiscard]] Result<SeenLease> see_lease(const LeaseSpot &spot, const config::Settings &settings,
                                          bool lenient = false);
/// kLeasedElsewhere or kOperationElsewhere.
[[nodiscard]] Result<void> refuse_elsewhere(const LeaseSpot &spot, const config::Settings &settings,
                                            bool lenient = false);
/// The same, with the instance.yaml of the directory as it was just read.
[[nodiscard]] Result<void> refuse_elsewhere(const LeaseSpot &spot, const config::Settings &settings,
                                            const std::optional<InstanceRecord> &instance);
/// This node has it when this returns, and has had it in no generation before. kNoSpace also where it could
/// not be given up again on a full filesystem.
[[nodiscard]] Result<void> take_lease(const LeaseSpot &spot, const config::Settings &settings,
                                      const std::string &holder);
/// Gives up what this node has; fine when that is nothing.
[[nodiscard]] Result<void> release_lease(const LeaseSpot &spot, const config::Settings &settings);
/// Takes it from whoever has it, for nobody; an operation of another node in the instance becomes this node's
/// to finish or undo.
[[nodiscard]] Result<void> break_lease(const LeaseSpot &spot, const config::Settings &settings);

}  // namespace vbd::device
