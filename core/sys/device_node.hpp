// SPDX-License-Identifier: MIT
// A path that is said to be a block device. Thread-safe; nothing is opened.
#pragma once

#include <string>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"

namespace vbd::sys {

inline constexpr ErrorKind kNotBlock{"disk.not_block", Exit::refused};

/// /dev/NAME, or links within /dev that lead to one.
struct DeviceNode {
  std::string canonical;     ///< without links
  std::string backing_path;  ///< of a loop device, as sysfs names the file behind it; else ""
};
/// kNotBlock for anything else, a regular file above all; kNotFound.
[[nodiscard]] Result<DeviceNode> device_node(const std::string &node);

}  // namespace vbd::sys
