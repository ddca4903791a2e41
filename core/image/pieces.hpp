// SPDX-License-Identifier: MIT
// What an image stores and where, piece by piece from its beginning, through all the images that it refers
// to. Memory is bounded by the depth of that chain, not by the image. One thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/image/open.hpp"

namespace vbd::image {

class Pieces {
 public:
  /// `image` must outlive this.
  explicit Pieces(const OpenImage &image);

  /// The next piece; those of one kind that follow each other in the file are one. Nothing after the last.
  [[nodiscard]] Result<std::optional<Piece>> next();

 private:
  /// A range of the guest that is looked up in one image of the chain.
  struct Range {
    const OpenImage *image = nullptr;
    std::uint64_t at = 0, end = 0;
    unsigned depth = 0;
    std::vector<vbd_extent> extents;
    std::size_t used = 0;
    bool as_mapped = true;  // the image's own word, not ours
  };
  [[nodiscard]] Result<std::optional<Piece>> step();
  void descend(const Range &from, const vbd_extent &extent);

  std::vector<Range> ranges_;  // the innermost last
  std::optional<Piece> held_;
};

/// The stretches of `image` that may read as something else than zeros, in order, and what lies between them
/// is zeros.
class Stored {
 public:
  explicit Stored(const OpenImage &image) : pieces_(image) {}

  struct Stretch {
    std::uint64_t begin = 0, end = 0;
  };
  /// The first stretch that ends after `offset`, which never goes back; nothing where only zeros follow.
  [[nodiscard]] Result<std::optional<Stretch>> from(std::uint64_t offset);
  /// What of them lies in [begin, end), cut to it; none touches the next. `begin` never goes back.
  [[nodiscard]] Result<std::vector<Stretch>> within(std::uint64_t begin, std::uint64_t end);

 private:
  Pieces pieces_;
  std::optional<Stretch> stretch_;
};

/// True where all `length` bytes are zero.
[[nodiscard]] bool all_zero(const unsigned char *bytes, std::uint64_t length);

}  // namespace vbd::image
