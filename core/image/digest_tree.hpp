// SPDX-License-Identifier: MIT
// The tree of docs/digest.md, grown from its leaves from left to right; of each level only the one node that
// waits for its right neighbour is kept. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>

#include "core/base/sha256.hpp"
#include "core/image/digest.hpp"

namespace vbd::image {

class DigestTree {
 public:
  DigestTree();
  /// The digest of block `number`, not before the end of what is there; zeros in between.
  void add(std::uint64_t number, const Sha256 &leaf);
  /// After the last block: the root over `size` bytes.
  [[nodiscard]] Sha256 root(std::uint64_t size);

 private:
  static constexpr unsigned kMostLevels = 48;  // 2^47 blocks of 2^16 bytes are 2^63 bytes
  using Levels = std::array<Sha256, kMostLevels>;
  void skip_to(std::uint64_t number);
  void push(unsigned level, Sha256 node);

  Levels zeros_{};  // the digests of trees of zeros, by their height
  Levels waiting_{};
  std::uint64_t filled_ = 0;  // leaves
};

}  // namespace vbd::image
