// SPDX-License-Identifier: MIT
#include <algorithm>

#include "image.hpp"
#include "info.hpp"

namespace vbdkit::qcow {

namespace {
constexpr uint64_t kMapLargeFile = 4ull << 30;

bool joins(const vbd_extent &last, const vbd_extent &next) {
  if (last.kind != next.kind || last.file != next.file) return false;
  switch (last.kind) {
    case VBD_EXTENT_DATA:
      return last.host_offset + last.length == next.host_offset;
    case VBD_EXTENT_ZERO:
      return last.host_offset == next.host_offset ? next.host_offset == ~0ull
                                                  : last.host_offset + last.length == next.host_offset;
    default:
      return true;
  }
}
}  // namespace

/// What [begin, ...) of a cluster is; the length is at most up to `end` and to where it changes.
void Image::describe(uint64_t guest_cluster, const Entry &entry, uint64_t begin, uint64_t end,
                     vbd_extent *extent) const {
  const uint64_t sub = subcluster_size(header_);
  const uint64_t base = guest_cluster * cluster();
  const auto bit_at = [&](uint64_t guest) { return 1u << ((guest - base) / sub); };
  const bool data = (entry.data & bit_at(begin)) != 0, zero = (entry.zero & bit_at(begin)) != 0;
  uint64_t stop = std::min(end, base + cluster());
  for (uint64_t at = (begin / sub + 1) * sub; at < stop; at += sub) {
    if (((entry.data & bit_at(at)) != 0) != data || ((entry.zero & bit_at(at)) != 0) != zero) stop = at;
  }
  *extent = {begin, stop - begin, 0, VBD_EXTENT_HOLE, 0, 0};
  const uint64_t host = entry.host + (begin - base);
  if (entry.packed()) {
    extent->kind = VBD_EXTENT_PACKED;
  } else if (data) {
    extent->kind = VBD_EXTENT_DATA;
    extent->host_offset = host;
    if (header_.data_file()) {
      extent->file = data_reference_index(header_) + 1;
      return;
    }
    const uint64_t file_end = space_ != nullptr ? space_->file_end() : header_.file_size;
    if (host + extent->length <= file_end) return;
    if (host < file_end) {  // the last cluster of the file is only partly there
      extent->length = file_end - host;
    } else {
      extent->kind = VBD_EXTENT_ZERO;
      extent->host_offset = ~0ull;
    }
  } else if (zero) {
    extent->kind = VBD_EXTENT_ZERO;
    extent->host_offset = entry.stored() ? host : ~0ull;
  } else if (begin < backing_size_) {
    extent->kind = VBD_EXTENT_REFERENCE;
    extent->file = 1;
    extent->length = std::min(extent->length, backing_size_ - begin);
  }
}

/// How far from a guest cluster on nothing is mapped because the L2 tables are missing.
uint64_t Image::unmapped_until(uint64_t guest_cluster, uint64_t end) const noexcept {
  uint64_t index = guest_cluster >> header_.l2_bits;
  const uint64_t mask = header_.version == 1 ? ~0ull : kOffsetMask;
  while (index < l1_.size() && (index << header_.l2_bits) * cluster() < end) {
    const uint64_t table = l1_[index] & mask;
    // A table that was never written, in a file with more holes than anybody could read: looked up, not read.
    if (table != 0 &&
        !(header_.file_size > kMapLargeFile && !writable_ && file_.is_hole(table, header_.l2_bytes())))
      break;
    ++index;
  }
  return std::min(end, (index << header_.l2_bits) * cluster());
}

/// How many clusters from this one on have an L2 entry of zero, as far as can be seen at once: most of an
/// image is so, and one cluster after the other would be most of the time of a map.
Status Image::empty_clusters(uint64_t guest_cluster, uint64_t *n, vbd_error *err) {
  *n = 0;
  const uint64_t table = l1_[guest_cluster >> header_.l2_bits] & (header_.version == 1 ? ~0ull : kOffsetMask);
  if (table == 0 || header_.extended_l2()) return VBD_OK;
  const uint64_t entries = 1ull << header_.l2_bits;
  const uint64_t at = table + (guest_cluster & (entries - 1)) * sizeof(uint64_t);
  const unsigned char *raw = nullptr;
  if (const Status s = l2_.at(at, &raw, err); s != VBD_OK) return s;
  const uint64_t here =
      std::min(table + entries * sizeof(uint64_t), (at / l2_.slice_size() + 1) * l2_.slice_size());
  for (uint64_t word = 0; *n < (here - at) / sizeof word; ++*n) {
    std::memcpy(&word, raw + *n * sizeof word, sizeof word);
    if (word != 0) break;
  }
  return VBD_OK;
}

/// What lies at `offset`, at most up to `end`. `unmapped`: up to there the L2 tables are missing.
Status Image::piece_at(uint64_t offset, uint64_t end, uint64_t unmapped, vbd_extent *piece, vbd_error *err) {
  const uint64_t guest_cluster = offset / cluster();
  if (offset < unmapped && offset < backing_size_) {
    *piece = {offset, std::min(unmapped, backing_size_) - offset, 0, VBD_EXTENT_REFERENCE, 1, 0};
    return VBD_OK;
  }
  uint64_t hole_end = unmapped;
  if (offset >= unmapped && offset >= backing_size_) {
    uint64_t empty = 0;
    if (const Status s = empty_clusters(guest_cluster, &empty, err); s != VBD_OK) return s;
    if (empty > 0) hole_end = std::min(end, (guest_cluster + empty) * cluster());
  }
  if (offset < hole_end) {
    *piece = {offset, hole_end - offset, 0, VBD_EXTENT_HOLE, 0, 0};
    return VBD_OK;
  }
  Entry entry;
  if (const Status s = lookup(guest_cluster, &entry, err); s != VBD_OK) return s;
  describe(guest_cluster, entry, offset, end, piece);
  return VBD_OK;
}

Status Image::map(uint64_t offset, uint64_t length, std::span<vbd_extent> extents, uint32_t *n,
                  vbd_error *err) {
  if (const Status s = range(offset, length, err); s != VBD_OK) return s;
  *n = 0;
  const uint64_t end = offset + length;
  const std::lock_guard lock(mutex_);
  uint64_t unmapped = offset, last_index = ~0ull;
  while (offset < end) {
    if (const uint64_t index = offset / cluster() >> header_.l2_bits; index != last_index) {
      last_index = index;
      unmapped = unmapped_until(offset / cluster(), end);
    }
    vbd_extent next;
    if (const Status s = piece_at(offset, end, unmapped, &next, err); s != VBD_OK) return s;
    if (*n > 0 && joins(extents[*n - 1], next)) {
      extents[*n - 1].length += next.length;
    } else {
      if (*n == extents.size()) break;
      extents[(*n)++] = next;
    }
    offset += next.length;
  }
  return VBD_OK;
}

}  // namespace vbdkit::qcow
