// SPDX-License-Identifier: MIT
// One guest cluster's part of a write: what the cluster was and what it will be.
#pragma once

#include "image.hpp"

namespace vbdkit::qcow {

struct Image::Piece {
  uint64_t guest_cluster = 0;
  uint64_t begin = 0, end = 0;  ///< guest bytes that the caller gave
  uint64_t fill_begin = 0,
           fill_end = 0;  ///< guest bytes that must be written: the rest comes from what was there
  Entry before, after;
  bool fresh = false;  ///< the new place reads as zeros already
  [[nodiscard]] bool moves() const noexcept { return after.host != before.host; }
  [[nodiscard]] bool bounced() const noexcept { return fill_begin != begin || fill_end != end; }
};

}  // namespace vbdkit::qcow
