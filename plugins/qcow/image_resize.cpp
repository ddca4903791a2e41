// SPDX-License-Identifier: MIT
#include <algorithm>

#include "image.hpp"

namespace vbdkit::qcow {

Status Image::check_resize(uint64_t bytes, bool may_shrink, vbd_error *err) const {
  if (bytes < header_.size && !may_shrink)
    return fail(err, VBD_E_INVAL, "qcow.shrink", 0, "the image has %llu bytes: shrinking must be asked for",
                ull(header_.size));
  if (header_.bitmap_count > 0)
    return fail(err, VBD_E_NOTSUP, "qcow.resize_bitmaps", 0,
                "the image has bitmaps of its present size: remove them first");
  if (header_.snapshot_count > 0 && (header_.version < 3 || bytes < header_.size))
    return fail(err, VBD_E_NOTSUP, "qcow.resize_snapshots", 0,
                "the image has snapshots: only version 3 with them can be resized, and only grow");
  if (units_of(bytes, header_.l2_coverage()) > kMaxL1Entries)
    return fail(err, VBD_E_INVAL, "qcow.size_for_cluster", 0,
                "with this cluster size a disk has at most %llu bytes",
                ull(header_.l2_coverage() * kMaxL1Entries));
  return VBD_OK;
}

/// The virtual size, one write inside one sector.
Status Image::write_size(uint64_t bytes, vbd_error *err) {
  unsigned char raw[8];
  store_be(raw, bytes);
  if (const Status s = file_.write(raw, sizeof raw, 24, err); s != VBD_OK) return s;
  if (const Status s = file_.sync(err); s != VBD_OK) return s;
  header_.size = bytes;
  return VBD_OK;
}

/// A longer L1 table at another place; the switch is one write inside the header's first sector.
Status Image::grow_l1(uint64_t entries, vbd_error *err) {
  if (entries <= l1_.size()) return VBD_OK;
  if (const Status s = flush_tables(err); s != VBD_OK) return s;
  Run run;
  if (const Status s = space_->allocate_table(entries * 8, &run, err); s != VBD_OK) return s;
  std::vector<uint64_t> raw(l1_);
  raw.resize(entries);
  for (uint64_t &word : raw) word = swap_if_little(word);
  // To the end of the cluster: what was there before must not look like entries when the table grows in
  // place.
  if (!run.fresh) {
    if (const Status s = file_.zero(run.offset, run.clusters * cluster(), err); s != VBD_OK) return s;
  }
  if (const Status s = file_.write(raw.data(), raw.size() * 8, run.offset, err); s != VBD_OK) return s;
  failed_ = true;
  if (const Status s = space_->write_back(err); s != VBD_OK) return s;
  if (const Status s = file_.sync(err); s != VBD_OK) return s;
  unsigned char place[12];
  Status status = VBD_OK;
  if (header_.version == 1) {
    store_be<uint64_t>(place, run.offset);
    status = file_.write(place, 8, 40, err);
  } else {
    store_be<uint32_t>(place, static_cast<uint32_t>(entries));  // bytes 36 to 47
    store_be<uint64_t>(place + 4, run.offset);
    status = file_.write(place, sizeof place, 36, err);
  }
  if (status == VBD_OK) status = file_.sync(err);
  if (status != VBD_OK) return status;
  if (header_.l1_entries > 0) space_->release(header_.l1_offset, header_.l1_entries * 8, false);
  space_->synced();
  header_.l1_offset = run.offset;
  header_.l1_entries = entries;
  l1_.resize(entries);
  l1_dirty_.assign(entries / 64 + 1, false);
  failed_ = false;
  return VBD_OK;
}

Status Image::resize(uint64_t bytes, bool may_shrink, bool dry_run, vbd_error *err) {
  if (const Status s = begin_change(0, 0, err); s != VBD_OK) return s;
  if (const Status s = check_resize(bytes, may_shrink, err); s != VBD_OK) return s;
  const uint64_t old = header_.size;
  if (bytes == old || dry_run) return VBD_OK;
  {
    const std::lock_guard lock(mutex_);
    if (const Status s = mark_written(err); s != VBD_OK) return s;
  }
  if (bytes < old) {
    // First the size: from then on the clusters beyond are only space that is taken for nothing.
    if (const Status s = write_size(bytes, err); s != VBD_OK) return s;
    const uint64_t first = round_up(bytes, cluster());
    header_.size = old;  // the range that goes
    const Status status = first < old ? zero_range(first, old - first, VBD_ZERO_MAY_PUNCH, err) : VBD_OK;
    header_.size = bytes;
    if (status != VBD_OK) return status;
    if (const Status s = flush(err); s != VBD_OK) return s;
    if (const Status s = flush(err); s != VBD_OK) return s;  // the counts of what the first one freed
    return space_->trim(err);
  }
  {
    const std::lock_guard lock(mutex_);
    if (const Status s = grow_l1(units_of(bytes, header_.l2_coverage()), err); s != VBD_OK) return s;
  }
  // What a longer backing file or the rest of the last cluster holds must not appear.
  const uint64_t visible = std::min(bytes, std::max(round_up(old, cluster()), backing_size_));
  header_.size = bytes;
  const Status status = visible > old ? zero_range(old, visible - old, 0, err) : VBD_OK;
  header_.size = old;
  if (status != VBD_OK) return status;
  if (const Status s = flush(err); s != VBD_OK) return s;
  return write_size(bytes, err);
}

Status Image::preallocate(bool allocate_blocks, bool write_zeros, vbd_error *err) {
  if (const Status s = begin_change(0, 0, err); s != VBD_OK) return s;
  const std::lock_guard lock(mutex_);
  if (const Status s = mark_written(err); s != VBD_OK) return s;
  const uint64_t clusters = units_of(header_.size, cluster());
  for (uint64_t at = 0; at < clusters;) {
    if (const Status s = writable_l2(at, err); s != VBD_OK) return s;
    const uint64_t table_end = ((at >> header_.l2_bits) + 1) << header_.l2_bits;
    Run run;
    if (const Status s = space_->allocate(std::min(clusters, table_end) - at, &run, err); s != VBD_OK)
      return s;
    const uint64_t bytes = run.clusters * cluster();
    Status status = VBD_OK;
    if (allocate_blocks) status = file_.allocate(run.offset, bytes, err);
    if (status == VBD_OK && write_zeros) status = file_.write_zeros(run.offset, bytes, err);
    if (status != VBD_OK) return status;
    Entry entry;
    entry.copied = true;
    entry.data = all_subclusters(header_);
    for (uint64_t i = 0; i < run.clusters; ++i) {
      entry.host = run.offset + i * cluster();
      if (const Status s = store(at + i, entry, err); s != VBD_OK) return s;
    }
    at += run.clusters;
    if (const Status s = relieve(err); s != VBD_OK) return s;
  }
  return VBD_OK;
}

}  // namespace vbdkit::qcow
