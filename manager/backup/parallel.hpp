// SPDX-License-Identifier: MIT
// Several disks at once. [call-thread]
#pragma once

#include <cstddef>
#include <functional>

#include "core/base/result.hpp"
#include "manager/backup/transfer.hpp"

namespace vbd::backup {

/// One of several pieces of work; `watch` is to be asked now and then and says when to stop.
using DiskWork = std::function<Result<void>(std::size_t index, const Watch &watch)>;

/// Does `count` of them, at most as many at once as there are processors. The first error, in their order,
/// after all have ended; it stops the others. `watch` gets the sums.
[[nodiscard]] Result<void> in_parallel(std::size_t count, const Watch &watch, const DiskWork &work);

}  // namespace vbd::backup
