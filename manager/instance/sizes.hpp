// SPDX-License-Identifier: MIT
// Whether the images of an instance still are what its record says, for every verb that is about to use one.
// Reads only, whoever else uses the image; not thread-safe.
#pragma once

#include <cstdint>

#include "core/sys/locks.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::instance {

/// The virtual size that the image has now.
[[nodiscard]] Result<std::uint64_t> real_size(const Manager &manager, const LogicalId &id,
                                              std::chrono::milliseconds patience = sys::kImagePatience);
/// real_size, refused where it is less than the record says (image::kTruncated).
[[nodiscard]] Result<std::uint64_t> whole_size(const Manager &manager, const InstanceRecord &record,
                                               const DiskRecord &disk,
                                               std::chrono::milliseconds patience = sys::kImagePatience);
/// All disks of the record, before the first of them is used. One that another program keeps from being
/// looked at is left to whoever uses it.
[[nodiscard]] Result<void> check_whole(const Manager &manager, const InstanceRecord &record);

}  // namespace vbd::instance
