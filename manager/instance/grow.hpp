// SPDX-License-Identifier: MIT
// What settle needs of grow-disk.
#pragma once

#include "manager/instance/settle.hpp"

namespace vbd::instance {

/// The catalog gets the size that the image has, and an attached device shows it. Sure to be a grow-disk.
[[nodiscard]] Result<void> settle_grow(const Manager &manager, Work &work);

}  // namespace vbd::instance
