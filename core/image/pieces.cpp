// SPDX-License-Identifier: MIT
#include "core/image/pieces.hpp"

#include <algorithm>
#include <cstring>

namespace vbd::image {
namespace {

bool reads_as_zeros(const Piece &piece) {
  return piece.kind == VBD_EXTENT_HOLE || piece.kind == VBD_EXTENT_ZERO;
}

/// Can `next` be said together with `piece`, which it follows in the guest?
bool continues(const Piece &piece, const Piece &next) {
  if (next.kind != piece.kind || next.depth != piece.depth || next.image != piece.image ||
      next.verbatim != piece.verbatim)
    return false;
  if (next.kind == VBD_EXTENT_HOLE || next.kind == VBD_EXTENT_PACKED) return true;
  constexpr std::uint64_t kNone = ~std::uint64_t{0};
  if (piece.host_offset == kNone || next.host_offset == kNone) return piece.host_offset == next.host_offset;
  return next.host_offset == piece.host_offset + piece.length;
}

}  // namespace

Pieces::Pieces(const OpenImage &image) {
  ranges_.push_back({&image, 0, image.size(), 0, {}, 0, true});
}

/// What lies in the image referred to; beyond its end there is nothing.
void Pieces::descend(const Range &from, const vbd_extent &extent) {
  const OpenImage *below = from.image->reference(extent.file - 1);
  const std::uint64_t end = extent.offset + extent.length;
  Range range{below, extent.offset, end, from.depth + 1, {}, 0, true};
  if (below == nullptr) {  // plain bytes: nothing is known of them but that they are there
    range.image = from.image;
    range.as_mapped = false;
    range.extents.push_back({extent.offset, extent.length, extent.offset, VBD_EXTENT_DATA, 0, 0});
  } else if (below->size() < end) {
    range.end = std::max(extent.offset, below->size());
    Range beyond{from.image, range.end, end, from.depth, {}, 0, true};
    beyond.extents.push_back({range.end, end - range.end, 0, VBD_EXTENT_HOLE, 0, 0});
    ranges_.push_back(std::move(beyond));
  }
  ranges_.push_back(std::move(range));
}

/// One extent as the filetype said it.
Result<std::optional<Piece>> Pieces::step() {
  while (!ranges_.empty()) {
    Range &range = ranges_.back();
    if (range.at == range.end) {
      ranges_.pop_back();
      continue;
    }
    if (range.used == range.extents.size()) {
      auto extents = range.image->map(range.at, range.end - range.at);
      if (!extents) return extents.error();
      range.extents = *std::move(extents);
      range.used = 0;
    }
    const vbd_extent extent = range.extents[range.used++];
    range.at += extent.length;
    if (extent.kind != VBD_EXTENT_REFERENCE) {
      return std::optional<Piece>(
          Piece{extent.offset, extent.length, extent.kind, extent.host_offset, range.depth, range.image,
                range.as_mapped && extent.kind == VBD_EXTENT_DATA && extent.file == 0});
    }
    const Range from{range.image, 0, 0,   range.depth,
                     {},          0, true};  // descend() may move what `range` stands for
    descend(from, extent);
  }
  return std::optional<Piece>{};
}

Result<std::optional<Piece>> Pieces::next() {
  for (;;) {
    auto got = step();
    if (!got) return got;
    if (held_ && *got && continues(*held_, **got)) {
      held_->length += (*got)->length;
      continue;
    }
    std::swap(held_, *got);
    if (*got || !held_) return got;
  }
}

Result<std::optional<Stored::Stretch>> Stored::from(std::uint64_t offset) {
  while (!stretch_ || stretch_->end <= offset) {
    VBD_TRY_ASSIGN(auto piece, pieces_.next());
    if (!piece) return std::optional<Stretch>{};
    if (!reads_as_zeros(*piece)) stretch_ = Stretch{piece->offset, piece->offset + piece->length};
  }
  return stretch_;
}

Result<std::vector<Stored::Stretch>> Stored::within(std::uint64_t begin, std::uint64_t end) {
  std::vector<Stretch> inside;
  for (std::uint64_t at = begin; at < end;) {
    VBD_TRY_ASSIGN(const auto stretch, from(at));
    if (!stretch || stretch->begin >= end) break;
    const Stretch part{std::max(stretch->begin, at), std::min(stretch->end, end)};
    if (!inside.empty() && inside.back().end == part.begin) {
      inside.back().end = part.end;
    } else {
      inside.push_back(part);
    }
    at = part.end;
  }
  return inside;
}

bool all_zero(const unsigned char *bytes, std::uint64_t length) {
  return length == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, length - 1) == 0);
}

}  // namespace vbd::image
