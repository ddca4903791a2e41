// SPDX-License-Identifier: MIT
#include "refcounts.hpp"

#include <algorithm>

namespace vbdkit::qcow {

namespace {
constexpr uint64_t kCacheBytes = 4u << 20;
}

CountedSpace::CountedSpace(const File &file, Header &header)
    : Space(file, header),
      own_header_(header),
      per_block_((header.cluster_size() * 8) >> header.refcount_order),
      blocks_(file, std::min<uint64_t>(header.cluster_size(), 16384), kCacheBytes),
      per_slice_((blocks_.slice_size() * 8) >> header.refcount_order) {}

Status CountedSpace::load(vbd_error *err) {
  table_.resize((uint64_t{header_.refcount_table_clusters} << header_.cluster_bits) / 8);
  if (const Status s =
          file_.read_padded(table_.data(), table_.size() * 8, header_.refcount_table_offset, err);
      s != VBD_OK)
    return s;
  for (uint64_t &entry : table_) {
    entry = swap_if_little(entry);
    if (entry == 0) continue;
    if (!is_aligned(entry, header_.cluster_size()) || entry < header_.cluster_size() ||
        !inside_file(header_, entry, header_.cluster_size()))
      return corrupt(err, "qcow.refcount_block_offset", "a refcount block is at %llu", ull(entry));
  }
  return VBD_OK;
}

/// The slice of a block that counts `cluster`: its place in the file (0: not counted) and the index within.
CountedSpace::Place CountedSpace::place_of(uint64_t cluster) const noexcept {
  const uint64_t block = cluster / per_block_, within = cluster % per_block_;
  if (block >= table_.size() || table_[block] == 0) return {};
  const uint64_t slice = within / per_slice_;
  return {table_[block] + slice * blocks_.slice_size(), within % per_slice_};
}

Status CountedSpace::count(uint64_t cluster, uint64_t *value, vbd_error *err) {
  const Place place = place_of(cluster);
  *value = 0;
  if (place.offset == 0) return VBD_OK;
  const unsigned char *slice = nullptr;
  if (const Status s = blocks_.at(place.offset, &slice, err); s != VBD_OK) return s;
  *value = get_refcount(slice, header_.refcount_order, place.index);
  return VBD_OK;
}

Status CountedSpace::set_counts(uint64_t cluster, uint64_t clusters, uint64_t value, vbd_error *err) {
  if (value == 0) next_free_ = std::min(next_free_, cluster);
  while (clusters > 0) {
    const Place place = place_of(cluster);
    if (place.offset == 0)
      return fail(err, VBD_E_INTERNAL, "qcow.uncovered", 0, "no refcount block for cluster %llu",
                  ull(cluster));
    unsigned char *slice = nullptr;
    if (const Status s = blocks_.change(place.offset, &slice, err); s != VBD_OK) return s;
    const uint64_t here = std::min(clusters, per_slice_ - place.index);
    for (uint64_t i = 0; i < here; ++i) set_refcount(slice, header_.refcount_order, place.index + i, value);
    cluster += here;
    clusters -= here;
  }
  return VBD_OK;
}

Status CountedSpace::add(uint64_t cluster, int64_t change, uint64_t *after, vbd_error *err) {
  uint64_t value = 0;
  if (const Status s = count(cluster, &value, err); s != VBD_OK) return s;
  if (change < 0 && value == 0)
    return corrupt(err, "qcow.refcount_underflow", "cluster %llu is in use but not counted", ull(cluster));
  *after = change < 0 ? value - 1 : value + 1;
  return set_counts(cluster, 1, *after, err);
}

/// Within one slice: whether `cluster` is free, and how many after it are alike (free ones at most `want`).
Status CountedSpace::run_of(uint64_t cluster, uint64_t want, bool *is_free, uint64_t *length,
                            vbd_error *err) {
  const Place place = place_of(cluster);
  const unsigned char *slice = nullptr;
  if (const Status s = blocks_.at(place.offset, &slice, err); s != VBD_OK) return s;
  *is_free = get_refcount(slice, header_.refcount_order, place.index) == 0;
  const uint64_t end = *is_free ? std::min(want, per_slice_ - place.index) : per_slice_ - place.index;
  uint64_t n = 1;
  while (n < end && (get_refcount(slice, header_.refcount_order, place.index + n) == 0) == *is_free) ++n;
  *length = n;
  return VBD_OK;
}

Status CountedSpace::check_limit(uint64_t clusters, vbd_error *err) const {
  const uint64_t blocks = units_of(clusters, per_block_);
  if (clusters < kMaxHostOffset >> header_.cluster_bits &&
      blocks * 8 <= std::max(kMaxRefcountTable, header_.cluster_size()))
    return VBD_OK;
  return fail(err, VBD_E_NOSPC, "qcow.full", 0,
              "the image file is full: its refcount table can't grow any more");
}

Status CountedSpace::find_free(uint64_t want, uint64_t *cluster, uint64_t *length, vbd_error *err) {
  for (uint64_t at = next_free_;;) {
    if (const Status s = check_limit(at + 1, err); s != VBD_OK) return s;
    const uint64_t index = at / per_block_;
    if (index >= table_.size()) {
      if (const Status s = grow_table(index + 1, err); s != VBD_OK) return s;
    }
    if (table_[index] == 0) {  // nothing is counted there: the block takes the first place and counts itself
      if (const Status s = add_block(index, at, err); s != VBD_OK) return s;
    }
    bool is_free = false;
    uint64_t run = 0;
    if (const Status s = run_of(at, want, &is_free, &run, err); s != VBD_OK) return s;
    if (is_free) {
      *cluster = next_free_ = at;
      *length = run;
      return VBD_OK;
    }
    at += run;
  }
}

Status CountedSpace::allocate(uint64_t want, Run *run, vbd_error *err) {
  uint64_t cluster = 0, length = 0;
  if (const Status s = find_free(want, &cluster, &length, err); s != VBD_OK) return s;
  run->offset = cluster << header_.cluster_bits;
  run->clusters = length;
  run->fresh = run->offset >= file_end_;
  // First the space: when the filesystem is full, nothing was counted.
  if (const Status s = grow_file(run->offset + (length << header_.cluster_bits), err); s != VBD_OK) return s;
  next_free_ = cluster + length;
  return set_counts(cluster, length, 1, err);
}

Status CountedSpace::allocate_packed(uint64_t bytes, uint64_t *offset, vbd_error *err) {
  const uint64_t room = packed_end_ - packed_at_;
  uint64_t value = 0, after = 0;
  if (room > 0) {
    const uint64_t current = cluster_of(packed_at_), next = current + 1;
    if (const Status s = count(current, &value, err); s != VBD_OK) return s;
    bool usable = value < header_.refcount_max() && value > 0;
    if (usable && bytes > room) {  // it goes on in the next cluster, when that one is free
      uint64_t neighbour = 1;
      if (next / per_block_ < table_.size() && table_[next / per_block_] != 0) {
        if (const Status s = count(next, &neighbour, err); s != VBD_OK) return s;
      }
      usable = neighbour == 0;
      if (usable) {
        if (const Status s = grow_file((next + 1) << header_.cluster_bits, err); s != VBD_OK) return s;
        if (const Status s = set_counts(next, 1, 1, err); s != VBD_OK) return s;
        if (next == next_free_) ++next_free_;
      }
    }
    if (usable) {
      if (const Status s = add(current, 1, &after, err); s != VBD_OK) return s;
      *offset = packed_at_;
      if (bytes > room) packed_end_ += header_.cluster_size();
      packed_at_ += bytes;
      return VBD_OK;
    }
  }
  Run run;
  if (const Status s = allocate(1, &run, err); s != VBD_OK) return s;
  *offset = run.offset;
  packed_at_ = run.offset + bytes;
  packed_end_ = run.offset + header_.cluster_size();
  return VBD_OK;
}

Status CountedSpace::cancel(uint64_t offset, uint64_t bytes, vbd_error *err) {
  for (uint64_t c = cluster_of(offset); c <= cluster_of(offset + bytes - 1); ++c) {
    uint64_t after = 0;
    if (const Status s = add(c, -1, &after, err); s != VBD_OK) return s;
    if (after == 0 && packed_end_ != 0 && c == cluster_of(packed_end_ - 1)) packed_at_ = packed_end_ = 0;
  }
  return VBD_OK;
}

void CountedSpace::release(uint64_t offset, uint64_t bytes, bool punch) {
  if (bytes != 0) pending_.push_back({offset, bytes, punch});
}

void CountedSpace::synced() {
  released_.insert(released_.end(), pending_.begin(), pending_.end());
  pending_.clear();
}

Status CountedSpace::reuse_released(vbd_error *err) {
  for (const Released &one : released_) {
    for (uint64_t c = cluster_of(one.offset); c <= cluster_of(one.offset + one.bytes - 1); ++c) {
      uint64_t after = 0;
      if (const Status s = add(c, -1, &after, err); s != VBD_OK) return s;
      if (after != 0) continue;
      if (packed_end_ != 0 && c == cluster_of(packed_end_ - 1)) packed_at_ = packed_end_ = 0;
      if (!one.punch) continue;
      file_.punch(c << header_.cluster_bits, header_.cluster_size());
    }
  }
  released_.clear();
  return VBD_OK;
}

}  // namespace vbdkit::qcow
