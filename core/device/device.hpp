// SPDX-License-Identifier: MIT
// Disks as block devices, through driver plugins: attach, detach, query, render, mount. Knows no hypervisor.
// The order on attach: operation lock, open below the allowed directories, filetype's header, pairing, who
// uses it, image lock, record, driver. What is attached is recorded under run_dir before each step
// (docs/safety.md). Not thread-safe; safe against other processes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/image/image.hpp"
#include "core/image/vet.hpp"
#include "core/model/instance_record.hpp"
#include "core/plugin/registry.hpp"

namespace vbd::device {

inline constexpr ErrorKind kHeldByOther{"disk.held", Exit::busy};
inline constexpr ErrorKind kDeviceBusy{"disk.busy", Exit::busy};
/// What a driver names is no block device, or another image's.
inline constexpr ErrorKind kBadNode{"disk.bad_node", Exit::refused};
inline constexpr ErrorKind kNotAttached{"disk.not_attached", Exit::not_found};
inline constexpr ErrorKind kDialect{"disk.dialect", Exit::refused};
/// In use by somebody whom no record knows.
inline constexpr ErrorKind kUnrecorded{"disk.unrecorded", Exit::busy};
inline constexpr ErrorKind kBroken{"disk.broken", Exit::failed};
/// The device is gone, and not all that was written to it had reached the image.
inline constexpr ErrorKind kLostWrites{"disk.lost_writes", Exit::failed};
inline constexpr const char *kLostHint =
    "the device is gone, and so is what did not reach the image: look at the room on its filesystem and at "
    "the "
    "kernel's log, then at what the image holds";
/// The directory is a copied or moved instance's.
inline constexpr ErrorKind kForeignDirectory{"instance.foreign", Exit::refused};
using image::kPartialView;

struct Context {
  const config::Settings &settings;
  plugin::Registry &registry;
};

struct AttachSpec {
  LogicalId id;
  std::string holder = "cli";  ///< "cli", "instance:NAME", "mount:DIR", another caller's "WORD:NAME"
  bool read_only = false;
  plugin::Values options;  ///< of the driver, per image
  std::uint32_t block_size = 512;
  bool dry_run = false;
  bool locked = false;  ///< the caller holds the operation lock of the image's directory
  /// Checked, recorded and leased like an attachment, but no device is made: whoever the holder starts opens
  /// the image itself. The image lock is free when this returns.
  bool lend = false;
  /// For an image that is new here, or was changed by others: what the operator says about its check.
  image::Vetting::Word vetting = image::Vetting::Word::check;
  bool leased = false;  ///< the caller has taken the lease for a guest, and gives it up with it
};

struct Attachment {
  std::string node;                        ///< "/dev/loop3"; "" of an image that was lent
  std::optional<std::uint64_t> size = {};  ///< of the node, bytes; none where it can't be looked at
  bool read_only = false;
  std::vector<std::string> holders;
  plugin::Facts facts;  ///< backend, direct_io, block_size, ...
};

struct Status {
  enum class State { detached, attached, broken };
  State state = State::detached;
  std::string reason;       ///< broken: why; unrecorded: by whom
  bool silent = false;      ///< its storage does not answer: all of this is from records and sysfs
  bool unrecorded = false;  ///< detached as far as records go, but somebody writes to the image
  Attachment attachment;    ///< when attached
};

[[nodiscard]] Result<Attachment> attach(const Context &context, const AttachSpec &spec);
/// Drops the holder; the device goes with the last one. Detached already: fine. `locked` as in AttachSpec.
/// kLostWrites: done, but data was lost.
[[nodiscard]] Result<void> detach(const Context &context, const LogicalId &id, const std::string &holder,
                                  bool dry_run = false, bool locked = false);
/// A command at work on the disk is waited for, unless it is the caller itself: `locked` as in AttachSpec.
[[nodiscard]] Result<Status> query(const Context &context, const LogicalId &id, bool locked = false);

/// Whether the driver lets an attached node show that its image has grown.
[[nodiscard]] Result<bool> can_refresh(const Context &context, const Constant &driver);
/// The image of an attached disk has grown: its node shows it afterwards. The caller holds the operation lock
/// of the image's directory. kNotAttached; plugin::kNoOperation for a driver that can't.
[[nodiscard]] Result<void> refresh(const Context &context, const LogicalId &id);

struct RenderSpec {
  LogicalId id;
  std::string dialect, vdev;
  bool read_only = false;
  plugin::Values options;
};
/// The disk's string for a hypervisor; the node when the driver does not speak the dialect and the disk is
/// attached.
[[nodiscard]] Result<std::string> render(const Context &context, const RenderSpec &spec);

struct MountRequest {
  LogicalId id;
  std::string directory;
  unsigned partition = 0;  ///< 0: the whole disk
  bool read_only = false;
  image::Vetting::Word vetting = image::Vetting::Word::check;  ///< as in AttachSpec
};
/// Attaches for holder "mount:DIR", then mounts; undone when that fails. DIR is the directory's own path, no
/// link in it; one at the end of request.directory is sys::kMountLink.
[[nodiscard]] Result<Attachment> mount(const Context &context, const MountRequest &request);
/// Unmounts and drops the holder. kNotMounted when the directory has no mount of ours; kLostWrites as in
/// detach.
[[nodiscard]] Result<void> umount(const Context &context, const LogicalId &id, const std::string &directory);

/// Holders of an image, by its identity, for those about to delete or change it; empty: not attached.
[[nodiscard]] Result<std::vector<std::string>> holders_of(const Context &context, const LogicalId &id);

/// Of an instance's directory: writable attachments are left, for other holders than the guest that took the
/// lease. Then they keep it, and the last of them gives it up.
[[nodiscard]] Result<bool> keep_lease(const Context &context, const InstanceRecord &instance);

/// Who writes to the image of a disk that is not attached as far as records and the driver know, in words: a
/// server or a guest whose record was lost, or somebody else. "" nobody.
[[nodiscard]] Result<std::string> unrecorded_users(const Context &context, const LogicalId &id);

/// Records under run_dir whose device is gone are dropped; what is broken is reported.
struct Leftover {
  std::string image, problem;
  bool repaired = false;
};
[[nodiscard]] Result<std::vector<Leftover>> scan(const Context &context, bool repair);

}  // namespace vbd::device
