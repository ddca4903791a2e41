// SPDX-License-Identifier: MIT
// Do two images show the guest the same bytes? What both do not store is not read; what only one of them
// stores is compared with zeros, also beyond the end of the shorter one.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/result.hpp"
#include "core/image/open.hpp"

namespace vbd::image {

struct Difference {
  std::uint64_t offset = 0, length = 0;  ///< guest bytes, multiples of 512
};

/// The ranges that differ, ascending, none next to another. As many threads as there are processors, where
/// both filetypes allow it; 2 MiB of memory for each.
[[nodiscard]] Result<std::vector<Difference>> compare(const OpenImage &a, const OpenImage &b);

}  // namespace vbd::image
