// SPDX-License-Identifier: MIT
// Space that the host fills by itself (reflink, copy_file_range) before the guest sees it.
#include <algorithm>

#include "busy.hpp"
#include "piece.hpp"

namespace vbdkit::qcow {

namespace {
constexpr uint64_t kMostAtOnce = 64u << 20;  // bounds what has to be remembered of one call
}

/// Forgets what was reserved in [begin, end) and frees its space.
Status Image::give_up(uint64_t begin, uint64_t end, vbd_error *err) {
  const std::lock_guard lock(mutex_);
  auto it = reserved_.lower_bound(begin);
  if (it != reserved_.begin() && std::prev(it)->first + std::prev(it)->second.length > begin) --it;
  while (it != reserved_.end() && it->first < end) {
    const uint64_t base = it->second.host / cluster() * cluster();
    if (const Status s = space_->cancel(base, cluster(), err); s != VBD_OK) return s;
    it = reserved_.erase(it);
  }
  return VBD_OK;
}

Status Image::reserve(uint64_t offset, uint64_t length, std::span<vbd_extent> extents, uint32_t *n,
                      vbd_error *err) {
  *n = 0;
  if (const Status s = begin_change(offset, length, err); s != VBD_OK) return s;
  if (compress_)
    return fail(err, VBD_E_NOTSUP, "qcow.compressing", 0, "what is to be compressed has no place before");
  const uint64_t end = offset + std::min(length, std::max(kMostAtOnce, cluster()));
  if (const Status s = give_up(offset, end, err); s != VBD_OK) return s;
  const std::lock_guard lock(mutex_);
  if (const Status s = mark_written(err); s != VBD_OK) return s;
  while (offset < end && *n < extents.size()) {
    Run run;
    const Status status = space_->allocate(units_of(end, cluster()) - offset / cluster(), &run, err);
    if (status != VBD_OK) return *n > 0 ? VBD_OK : status;
    const uint64_t run_end = std::min(end, (offset / cluster() + run.clusters) * cluster());
    const uint64_t host = run.offset + offset % cluster();
    // One entry a cluster: they are committed and given up one by one.
    for (uint64_t at = offset; at < run_end;) {
      const uint64_t stop = std::min(run_end, (at / cluster() + 1) * cluster());
      reserved_[at] = {stop - at, host + (at - offset)};
      at = stop;
    }
    if (*n > 0 && extents[*n - 1].host_offset + extents[*n - 1].length == host) {
      extents[*n - 1].length += run_end - offset;
    } else {
      extents[(*n)++] = {offset, run_end - offset, host, VBD_EXTENT_DATA, 0, 0};
    }
    offset = run_end;
  }
  return VBD_OK;
}

/// One cluster's reserved bytes become the guest's; the rest of the cluster comes from what was there.
Status Image::commit_one(uint64_t begin, const Reservation &reservation, vbd_error *err) {
  Piece piece;
  piece.guest_cluster = begin / cluster();
  const uint64_t base = piece.guest_cluster * cluster();
  const uint64_t end = begin + reservation.length;
  {
    const std::lock_guard lock(mutex_);
    if (const Status s = writable_l2(piece.guest_cluster, err); s != VBD_OK) return s;
    if (const Status s = lookup(piece.guest_cluster, &piece.before, err); s != VBD_OK) return s;
  }
  piece.after.host = reservation.host / cluster() * cluster();
  piece.after.copied = true;
  piece.after.data = all_subclusters(header_);
  const auto copy = [&](uint64_t from, uint64_t to) {
    if (from >= to) return Status{VBD_OK};
    std::vector<unsigned char> bytes(to - from);
    if (const Status s = read_entry(piece.before, from, bytes.size(), bytes.data(), err); s != VBD_OK)
      return s;
    return file_.write(bytes.data(), bytes.size(), piece.after.host + (from - base), err);
  };
  if (const Status s = copy(base, begin); s != VBD_OK) return s;
  if (const Status s = copy(end, base + cluster()); s != VBD_OK) return s;
  return link({piece}, err);
}

Status Image::commit(uint64_t offset, uint64_t length, vbd_error *err) {
  if (const Status s = begin_change(offset, length, err); s != VBD_OK) return s;
  const uint64_t end = offset + length;
  while (offset < end) {
    uint64_t begin = 0;
    Reservation reservation;
    {
      const std::lock_guard lock(mutex_);
      auto it = reserved_.lower_bound(offset / cluster() * cluster());
      while (it != reserved_.end() && it->first + it->second.length <= offset) ++it;
      if (it == reserved_.end() || it->first >= end) break;
      begin = it->first;
      reservation = it->second;
      reserved_.erase(it);
    }
    const Busy busy(*this, begin, begin + reservation.length);
    if (const Status s = commit_one(begin, reservation, err); s != VBD_OK) {
      const std::lock_guard lock(mutex_);
      if (!failed_) reserved_[begin] = reservation;
      return s;
    }
    offset = begin + reservation.length;
  }
  return settle(err);
}

}  // namespace vbdkit::qcow
