// SPDX-License-Identifier: MIT
// Do two images show the guest the same bytes? What both do not store is not read; what only one of them
// stores is compared with zeros, also beyond the end of the shorter one.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/result.hpp"
#include "core/base/size.hpp"
#include "core/image/open.hpp"
#include "core/image/watch.hpp"

namespace vbd::image {

struct Difference {
  std::uint64_t offset = 0, length = 0;  ///< guest bytes
};

/// Where images differ, in memory that is bounded: when more than `most` ranges are found, they are rounded
/// outwards to multiples of 1 KiB, 2 KiB, ... until half as many are left, so that every difference stays in
/// one of them. Not thread-safe.
class Differences {
 public:
  /// `end`: of the longer image; no range goes beyond.
  explicit Differences(std::uint64_t end, std::size_t most = 16384) : end_(end), most_(most) {}

  /// Not before the end of the last one.
  void add(const Difference &difference);

  [[nodiscard]] bool none() const { return bytes_ == 0; }
  [[nodiscard]] std::uint64_t first() const { return first_; }  ///< of the first sector that differs, exactly
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  ///< of sectors that differ, exactly
  /// Ascending, none next to another.
  [[nodiscard]] const std::vector<Difference> &ranges() const { return ranges_; }
  /// What the ranges are rounded to; one sector: not rounded.
  [[nodiscard]] std::uint64_t granularity() const { return granularity_; }

 private:
  void append(const Difference &difference);

  std::uint64_t end_;
  std::size_t most_;
  std::uint64_t first_ = 0, bytes_ = 0, granularity_ = kSectorSize;
  std::vector<Difference> ranges_;
};

/// On all processors where both images are parallel, 512 KiB of memory for each. `watch` is told bytes of the
/// longer one's size.
[[nodiscard]] Result<Differences> compare(const OpenImage &a, const OpenImage &b, const Watch &watch = {});

}  // namespace vbd::image
