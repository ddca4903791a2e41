// SPDX-License-Identifier: MIT
// Mounting, by mount(2) and umount2(2). Needs CAP_SYS_ADMIN. Thread-safe.
#pragma once

#include <string>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"

namespace vbd::sys {

inline constexpr ErrorKind kNotMounted{"mount.not_mounted", Exit::not_found};
inline constexpr ErrorKind kUnknownFilesystem{"mount.unknown_filesystem", Exit::failed};

struct MountSpec {
  std::string node;
  std::string directory;
  std::string type;        ///< "ext4"
  bool read_only = false;  ///< then also no journal replay: noload, norecovery as the type has it
};
/// Always nosuid,nodev,noexec.
[[nodiscard]] Result<void> mount_node(const MountSpec &spec);
/// Writes out what the filesystem mounted there holds; an error also for what could not be written earlier,
/// when nobody has asked since.
[[nodiscard]] Result<void> sync_filesystem(const std::string &directory);
/// Not lazy: busy is kInUse, naming the processes.
[[nodiscard]] Result<void> unmount(const std::string &directory);
/// Filesystem type by its magic in the first 128 KiB (ext2/3/4, xfs, btrfs, vfat, iso9660, squashfs, swap),
/// "" unknown.
[[nodiscard]] Result<std::string> filesystem_type(const std::string &node);

}  // namespace vbd::sys
