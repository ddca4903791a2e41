// SPDX-License-Identifier: MIT
// What settle needs of modify.
#pragma once

#include "manager/instance/settle.hpp"

namespace vbd::instance {

/// Before the new list of disks was written: what was made goes, what was taken is given back. After it: the
/// files of removed disks go. Sure to be a modify.
[[nodiscard]] Result<void> settle_modify(const Manager &manager, Work &work, bool assume_unused);

}  // namespace vbd::instance
