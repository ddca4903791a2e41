// SPDX-License-Identifier: MIT
// Mounting, by mount(2) and umount2(2). Needs CAP_SYS_ADMIN. Thread-safe.
#pragma once

#include <string>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

inline constexpr ErrorKind kNotMounted{"mount.not_mounted", Exit::not_found};
inline constexpr ErrorKind kMountLink{"mount.link", Exit::refused};
inline constexpr ErrorKind kUnknownFilesystem{"mount.unknown_filesystem", Exit::failed};

/// A directory to mount on, held open: what is mounted lands on this one, whatever its path means meanwhile.
struct MountPoint {
  Fd fd;
  std::string path;  ///< without links, as the kernel will list the mount
};
/// kMountLink for a link at the end, with where it leads in the hint. What is mounted there already is seen,
/// not what lies below.
[[nodiscard]] Result<MountPoint> open_mount_point(const std::string &directory);

struct MountSpec {
  std::string node;
  const MountPoint &point;
  std::string type;        ///< "ext4"
  bool read_only = false;  ///< then also no journal replay: noload, norecovery as the type has it
};
/// Always nosuid,nodev,noexec.
[[nodiscard]] Result<void> mount_node(const MountSpec &spec);
/// Writes out what the filesystem mounted there holds; an error also for what could not be written earlier,
/// when nobody has asked since.
[[nodiscard]] Result<void> sync_filesystem(const std::string &directory);
/// The mount at exactly this path, which has no link in it. Not lazy: busy is kInUse, naming the processes.
[[nodiscard]] Result<void> unmount(const std::string &directory);
/// Filesystem type by its magic in the first 128 KiB (ext2/3/4, xfs, btrfs, vfat, iso9660, squashfs, swap),
/// "" unknown.
[[nodiscard]] Result<std::string> filesystem_type(const std::string &node);

}  // namespace vbd::sys
