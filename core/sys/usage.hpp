// SPDX-License-Identifier: MIT
// Who uses an image or a device node, also those who take no lock: loop devices (by device and inode of the
// backing file), mounts, holders in sysfs, open descriptors in /proc. Thread-safe; a snapshot that may be
// stale when it returns.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {

struct LoopDevice {
  std::string node;  ///< "/dev/loop3"
  FileId backing;
  std::uint64_t offset = 0, size_limit = 0;  ///< bytes; limit 0: none
  bool read_only = false, direct_io = false, autoclear = false;
  std::uint32_t block_size = 512;
  std::string tag;  ///< lo_file_name: at most 63 bytes
};
/// All bound loop devices; those that can't be looked at (no root) are read from sysfs as far as it goes.
[[nodiscard]] Result<std::vector<LoopDevice>> loop_devices();
/// Those on the file. Others cost no more than reading their names: storage that hangs somewhere else is not
/// touched (vbdkit/detail/loop_find.hpp).
[[nodiscard]] Result<std::vector<LoopDevice>> loops_of(const FileId &file);
/// Those whose file lies below one of the directories, by its name alone, and what that name is.
struct NamedLoop {
  LoopDevice loop;
  std::string path;
};
[[nodiscard]] std::vector<NamedLoop> loops_below(const std::vector<std::string> &directories);

/// Where the filesystem of the path is mounted when its calls may wait for ever (FUSE, NFS, ...), by the
/// table of mounts; else "".
[[nodiscard]] std::string mount_that_may_hang(const std::string &path);

struct Mount {
  std::string source, target, type, options;
};
/// Mounts in this mount namespace whose device is the block device `node`, or one of its partitions.
[[nodiscard]] Result<std::vector<Mount>> mounts_of_node(const std::string &node);
/// Names in /sys/block/X/holders (device mapper, md) and of partitions, and swap.
[[nodiscard]] Result<std::vector<std::string>> holders_of_node(const std::string &node);

/// Bytes of a block device.
[[nodiscard]] Result<std::uint64_t> node_size(const std::string &node);

struct ProcessUse {
  std::int64_t pid = 0;
  std::string command;
  bool writes = false;
};
struct Usage {
  std::vector<LoopDevice> loops;
  std::vector<ProcessUse> processes;  ///< other than this one
  std::string unseen;  ///< "process 7 (cat)", of what could not be looked at; "" when all could
  [[nodiscard]] bool any() const { return !loops.empty() || !processes.empty(); }
  /// "loop device /dev/loop3 (mounted at /mnt), process 123 (qemu-nbd)": for messages.
  [[nodiscard]] std::string describe() const;
};
/// A vbd that has it open for reading only, and nobody else: that one is waited for, up to 3 s.
[[nodiscard]] Result<Usage> find_usage(const FileId &file);
/// Processes that have the block device open.
[[nodiscard]] Result<Usage> find_node_usage(const std::string &node);

}  // namespace vbd::sys
