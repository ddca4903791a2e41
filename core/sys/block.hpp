// SPDX-License-Identifier: MIT
// Block devices as sysfs shows them; for this room's own files only. Thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/sys/usage.hpp"

namespace vbd::sys {

/// A block device and its partitions.
struct BlockNode {
  std::vector<dev_t> devices;           ///< the device itself first
  std::vector<std::string> sysfs_dirs;  ///< the same order
  [[nodiscard]] bool has(dev_t device) const;
};
[[nodiscard]] Result<BlockNode> block_node(const std::string &node);

/// Loop devices on the file; `unseen` becomes the node of one that may be on it and can't be looked at.
[[nodiscard]] std::vector<LoopDevice> scan_loops(const FileId &file, std::string &unseen);

}  // namespace vbd::sys
