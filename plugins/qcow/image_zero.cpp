// SPDX-License-Identifier: MIT
#include <algorithm>

#include "busy.hpp"

namespace vbdkit::qcow {

/// Zeros as data, where an entry can't say it.
Status Image::write_zeros(uint64_t begin, uint64_t end, vbd_error *err) {
  const std::vector<unsigned char> zeros(std::min<uint64_t>(end - begin, 1u << 20));
  while (begin < end) {
    const uint64_t stop = std::min(end, begin + zeros.size());
    if (const Status s = write_plain(zeros.data(), begin, stop, err); s != VBD_OK) return s;
    begin = stop;
  }
  return VBD_OK;
}

/// A whole cluster by its entry. `*by_writing`: the entry can't say it.
Status Image::zero_whole(uint64_t guest_cluster, uint32_t flags, bool *by_writing, vbd_error *err) {
  const std::lock_guard lock(mutex_);
  if (const Status s = mark_written(err); s != VBD_OK) return s;
  Entry before;
  if (const Status s = lookup(guest_cluster, &before, err); s != VBD_OK) return s;
  const uint32_t all = all_subclusters(header_);
  const bool hole_is_zero = guest_cluster * cluster() >= backing_size_;
  const bool give_back = (flags & (VBD_ZERO_MAY_PUNCH | VBD_ZERO_KEEP_SPACE)) == VBD_ZERO_MAY_PUNCH;
  *by_writing = false;
  Entry after;  // nothing
  after.copied = true;
  if (!before.stored()) {
    if (before.zero == all || hole_is_zero) return VBD_OK;
    if (header_.version < 3) {
      *by_writing = true;
      return VBD_OK;
    }
    if (!hole_is_zero) after.zero = all;
  } else if (header_.version == 1) {
    // Its space could never be used again: keep it.
    if (!before.packed() && give_back) return file_.zero(before.host, cluster(), err);
    *by_writing = true;
    return VBD_OK;
  } else if (give_back || before.packed() || !before.copied) {
    if (header_.version < 3 && (!hole_is_zero || !give_back)) {
      *by_writing = true;
      return VBD_OK;
    }
    if (!hole_is_zero || !give_back) after.zero = all;
  } else {
    if (header_.version < 3) {
      *by_writing = true;
      return VBD_OK;
    }
    if (before.zero == all) return VBD_OK;
    after.host = before.host;  // stays allocated, and reads as zero
    after.zero = all;
  }
  if (const Status s = writable_l2(guest_cluster, err); s != VBD_OK) return s;
  if (const Status s = store(guest_cluster, after, err); s != VBD_OK) {
    failed_ = true;
    return s;
  }
  if (after.host == 0) {
    if (const Status s = drop(before, give_back, err); s != VBD_OK) return s;
  }
  return relieve(err);
}

Status Image::zero_cluster(uint64_t guest_cluster, uint64_t begin, uint64_t end, uint32_t flags,
                           vbd_error *err) {
  const uint64_t base = guest_cluster * cluster();
  if (begin == base && end >= std::min(base + cluster(), header_.size)) {
    bool by_writing = false;
    if (const Status s = zero_whole(guest_cluster, flags, &by_writing, err); s != VBD_OK || !by_writing)
      return s;
    return write_zeros(begin, end, err);
  }
  Entry entry;
  {
    const std::lock_guard lock(mutex_);
    if (const Status s = lookup(guest_cluster, &entry, err); s != VBD_OK) return s;
  }
  // Only what does not read as zero already.
  const uint64_t sub = subcluster_size(header_);
  while (begin < end) {
    const uint64_t stop = std::min(end, (begin / sub + 1) * sub);
    const uint32_t bit = 1u << ((begin - base) / sub);
    const bool is_zero = (entry.zero & bit) != 0 || ((entry.data & bit) == 0 && begin >= backing_size_);
    if (!is_zero) {
      if (const Status s = write_zeros(begin, stop, err); s != VBD_OK) return s;
    }
    begin = stop;
  }
  return VBD_OK;
}

Status Image::zero_range(uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err) {
  const uint64_t end = offset + length;
  while (offset < end) {
    {
      const std::lock_guard lock(mutex_);
      const uint64_t unmapped = unmapped_until(offset / cluster(), end);
      if (unmapped > offset && offset >= backing_size_) {
        offset = unmapped;
        continue;
      }
    }
    const uint64_t guest_cluster = offset / cluster();
    const uint64_t stop = std::min(end, (guest_cluster + 1) * cluster());
    const Busy busy(*this, offset, stop);
    if (const Status s = zero_cluster(guest_cluster, offset, stop, flags, err); s != VBD_OK) return s;
    offset = stop;
  }
  return VBD_OK;
}

Status Image::zero(uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err) {
  if (const Status s = begin_change(offset, length, err); s != VBD_OK) return s;
  if (const Status s = zero_range(offset, length, flags, err); s != VBD_OK) return s;
  return settle(err);
}

}  // namespace vbdkit::qcow
