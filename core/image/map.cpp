// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>

#include "core/image/open.hpp"

namespace vbd::image {
namespace {

/// Joins what belongs together before it hands it on.
class Joiner {
 public:
  explicit Joiner(const std::function<void(const Piece &)> &visit) : visit_(visit) {}

  void add(const Piece &piece) {
    if (held_ && follows(piece)) {
      held_->length += piece.length;
      return;
    }
    finish();
    held_ = piece;
  }
  void finish() {
    if (held_) visit_(*held_);
    held_.reset();
  }

 private:
  bool follows(const Piece &next) const {
    if (next.kind != held_->kind || next.depth != held_->depth || next.image != held_->image) return false;
    if (next.kind == VBD_EXTENT_HOLE || next.kind == VBD_EXTENT_PACKED) return true;
    constexpr std::uint64_t kNone = ~std::uint64_t{0};
    if (held_->host_offset == kNone || next.host_offset == kNone)
      return held_->host_offset == next.host_offset;
    return next.host_offset == held_->host_offset + held_->length;
  }

  const std::function<void(const Piece &)> &visit_;
  std::optional<Piece> held_;
};

Result<void> walk(const OpenImage &image, std::uint64_t offset, std::uint64_t length, unsigned depth,
                  Joiner &joiner);

/// What lies in the image referred to, and beyond its end nothing.
Result<void> walk_reference(const OpenImage &image, const vbd_extent &extent, unsigned depth,
                            Joiner &joiner) {
  const OpenImage *below = image.reference(extent.file - 1);
  if (below == nullptr) {  // plain bytes: nothing is known of them but that they are there
    joiner.add({extent.offset, extent.length, VBD_EXTENT_DATA, extent.offset, depth + 1, &image});
    return {};
  }
  const std::uint64_t end = std::max(extent.offset, std::min(extent.offset + extent.length, below->size()));
  if (end > extent.offset) {
    if (auto done = walk(*below, extent.offset, end - extent.offset, depth + 1, joiner); !done) return done;
  }
  if (end < extent.offset + extent.length)
    joiner.add({end, extent.offset + extent.length - end, VBD_EXTENT_HOLE, 0, depth, &image});
  return {};
}

Result<void> walk(const OpenImage &image, std::uint64_t offset, std::uint64_t length, unsigned depth,
                  Joiner &joiner) {
  for (std::uint64_t at = offset; at < offset + length;) {
    auto extents = image.map(at, offset + length - at);
    if (!extents) return extents.error();
    for (const vbd_extent &extent : *extents) {
      at += extent.length;
      if (extent.kind != VBD_EXTENT_REFERENCE) {
        joiner.add({extent.offset, extent.length, extent.kind, extent.host_offset, depth, &image});
      } else if (auto done = walk_reference(image, extent, depth, joiner); !done) {
        return done;
      }
    }
  }
  return {};
}

}  // namespace

Result<void> for_each_piece(const OpenImage &image, const std::function<void(const Piece &)> &visit) {
  Joiner joiner(visit);
  if (auto done = walk(image, 0, image.size(), 0, joiner); !done) return done;
  joiner.finish();
  return {};
}

}  // namespace vbd::image
