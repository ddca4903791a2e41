// SPDX-License-Identifier: MIT
// One disk during one operation: its place, the open image, its record, and calls of its driver with the
// record and the image lock behind them. Internal to this room. Not thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "core/device/device.hpp"
#include "core/device/lease.hpp"
#include "core/device/record.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"

namespace vbd::device {

inline constexpr std::chrono::milliseconds kLockPatience{20000};

/// Where an image lies: below an allowed directory, its parent open.
struct Place {
  std::vector<sys::AllowedDir> allowed;
  std::string path;  ///< confined
  std::string directory_path;
  sys::Fd directory;    ///< none when it does not exist (any more), or does not answer
  bool silent = false;  ///< its storage does not answer
};
/// With `may_be_gone` a missing directory is no error.
[[nodiscard]] Result<Place> open_place(const Context &context, const std::string &path, bool may_be_gone);
/// False when the storage of the path is gone (EIO, ENOTCONN) or does not answer within 2 s: then what is
/// recorded and what sysfs says are all that there is, and nothing there may be touched.
[[nodiscard]] bool answers(const Context &context, const std::string &path);
/// The operation lock of that directory; on a filesystem that can't carry the file, one under RUN_DIR.
[[nodiscard]] Result<sys::OperationLock> lock_place(const Context &context, const Place &place,
                                                    std::chrono::milliseconds patience = kLockPatience);

struct Disk {
  const Context &context;
  LogicalId id;
  plugin::Plugin *driver = nullptr;
  Records records;
  Place place;
  std::optional<sys::OperationLock> lock;
  sys::Fd image;  ///< none when the file is gone or may not be opened
  std::optional<sys::FileInfo> info;
  std::optional<Record> record;

  [[nodiscard]] std::string shown() const;  ///< the path for messages
};

/// For new attachments: everything must be there. Locked unless `dry_run`.
[[nodiscard]] Result<Disk> open_for_attach(const Context &context, const AttachSpec &spec);
/// For query and detach: a file that was renamed, replaced or deleted is found by its record. kNotFound when
/// neither the file nor a record is there.
[[nodiscard]] Result<Disk> open_for_others(const Context &context, const LogicalId &id, bool locked);

/// What the driver says about the image; without the operation: what the record says.
struct Observed {
  Status::State state = Status::State::detached;
  bool node_there = false;  ///< broken, but "attached" was said as well
  std::string reason;
  bool bad_node = false;  ///< broken, for what is named as the node must not be touched
  plugin::Facts facts;
};
/// An answer of a driver, or a record's, that names a device.
struct NodeClaim {
  const plugin::Plugin &driver;
  std::string image;  ///< confined
  sys::FileId file;
  std::string state_directory;
  std::string node;
  std::string_view operation;  ///< "attach", for the message
};
/// kBadNode unless it is a block device in /dev, and the image's where the kernel can tell.
[[nodiscard]] Result<void> check_node(const NodeClaim &claim);
[[nodiscard]] Result<void> check_node(const Disk &disk, const std::string &node, std::string_view operation);

[[nodiscard]] Result<Observed> observe(Disk &disk);
/// A record for what was found attached without one, or for a new attachment.
[[nodiscard]] Record new_record(const Disk &disk);

/// Driver's attach on disk.record, which is written whenever the driver puts something down.
[[nodiscard]] Result<plugin::Facts> call_attach(Disk &disk, const plugin::Values &params, bool shared);
[[nodiscard]] Result<void> call_detach(Disk &disk);
/// Driver's refresh, which must be there, on disk.record.
[[nodiscard]] Result<void> call_refresh(Disk &disk);
/// Whose lease it is about.
[[nodiscard]] LeaseSpot spot_of(const Disk &disk);
/// Writable attachments of other images that the instance lists, which its one lease covers too.
[[nodiscard]] Result<std::vector<Record>> others_under_lease(const Disk &disk,
                                                             const InstanceRecord &instance);
/// The driver's detach, then lease and record go. On failure the record stays and the error names the users.
[[nodiscard]] Result<void> finish_detach(Disk &disk);
/// Nothing is attached: gives up the lease when no other writer needs it, and drops the record.
[[nodiscard]] Result<void> forget(Disk &disk);

/// Who writes to an image that is not attached as far as records go, in words; "" nobody.
[[nodiscard]] Result<std::string> unrecorded_users(const Disk &disk);
/// Loop devices on images or on files of drivers that none of the records knows.
[[nodiscard]] std::vector<Leftover> unrecorded_devices(const Context &context,
                                                       const std::vector<Record> &records);

/// What detach does, on a disk that is open (and locked unless `dry_run`).
[[nodiscard]] Result<void> give_up(Disk &disk, const std::string &holder, bool dry_run);
/// What query answers.
[[nodiscard]] Result<Status> status_of(Disk &disk);

/// The guest's bytes where they are the file's own; none where only the filetype can tell.
[[nodiscard]] std::optional<std::uint64_t> flat_size(const Disk &disk);

[[nodiscard]] std::string words(
    const std::vector<std::string> &holders);  ///< "cli, mount:/mnt" or "an unknown holder"
[[nodiscard]] Attachment attachment_of(const Record &record, const Observed &observed);
/// "attached writable at /dev/loop3 for cli"
[[nodiscard]] std::string describe(const Record &record);

}  // namespace vbd::device
