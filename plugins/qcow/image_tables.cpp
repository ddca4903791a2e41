// SPDX-License-Identifier: MIT
// L1 and L2 tables of an open image, and the order in which they reach the file.
#include <algorithm>

#include "image.hpp"

namespace vbdkit::qcow {

namespace {
constexpr uint64_t kMaxHeldBack = 6u << 20;  // bytes of changed L2 tables

Status broken_entry(vbd_error *err, const char *reason, uint64_t guest_cluster, uint64_t word) {
  return corrupt(err, reason, "the entry of guest cluster %llu is 0x%016llx", ull(guest_cluster), ull(word));
}
}  // namespace

Status Image::lookup(uint64_t guest_cluster, Entry *entry, vbd_error *err) {
  *entry = Entry{};
  entry->copied = header_.version == 1;
  const uint64_t index = guest_cluster >> header_.l2_bits;
  const uint64_t table =
      l1_[index] & (header_.version == 1 ? ~0ull : kOffsetMask);  // checked when it was loaded
  if (table == 0) return VBD_OK;
  const uint64_t within = guest_cluster & ((1ull << header_.l2_bits) - 1);
  const unsigned char *raw = nullptr;
  if (const Status s = l2_.at(table + within * header_.l2_entry_size(), &raw, err); s != VBD_OK) return s;
  const uint64_t word = be64(raw, 0);
  const uint64_t file_size = space_ != nullptr ? space_->file_end() : header_.file_size;
  const char *reason =
      decode_entry(header_, file_size, word, header_.extended_l2() ? be64(raw, 8) : 0, entry);
  if (reason != nullptr) return broken_entry(err, reason, guest_cluster, word);
  // What an L2 table shared with a snapshot points at is shared too.
  if (header_.version != 1 && (l1_[index] & kCopied) == 0) entry->copied = false;
  return VBD_OK;
}

/// Makes sure that the L2 table of a guest cluster exists and is ours alone.
Status Image::writable_l2(uint64_t guest_cluster, vbd_error *err) {
  const uint64_t index = guest_cluster >> header_.l2_bits;
  const bool v1 = header_.version == 1;
  const uint64_t old = l1_[index] & (v1 ? ~0ull : kOffsetMask);
  if (old != 0 && (v1 || (l1_[index] & kCopied) != 0)) return VBD_OK;
  Run run;
  if (const Status s = space_->allocate_table(header_.l2_bytes(), &run, err); s != VBD_OK) return s;
  l2_.forget(run.offset, header_.l2_bytes());
  Status status = VBD_OK;
  if (old != 0) {
    std::vector<unsigned char> copy(header_.l2_bytes());
    for (uint64_t at = 0; status == VBD_OK && at < copy.size(); at += l2_.slice_size()) {
      const unsigned char *raw = nullptr;
      status = l2_.at(old + at, &raw, err);
      if (status == VBD_OK) std::memcpy(copy.data() + at, raw, l2_.slice_size());
    }
    if (status == VBD_OK) status = file_.write(copy.data(), copy.size(), run.offset, err);
  } else if (!run.fresh) {
    status = file_.zero(run.offset, header_.l2_bytes(), err);
  }
  if (status != VBD_OK) {
    if (space_->cancel(run.offset, header_.l2_bytes(), nullptr) != VBD_OK) failed_ = true;
    return status;
  }
  if (old != 0) space_->release(old, header_.l2_bytes(), false);
  l1_[index] = run.offset | (v1 ? 0 : kCopied);
  l1_dirty_[index / 64] = any_l1_dirty_ = true;
  return VBD_OK;
}

Status Image::store(uint64_t guest_cluster, const Entry &entry, vbd_error *err) {
  const uint64_t table = l1_[guest_cluster >> header_.l2_bits] & (header_.version == 1 ? ~0ull : kOffsetMask);
  const uint64_t within = guest_cluster & ((1ull << header_.l2_bits) - 1);
  unsigned char *raw = nullptr;
  if (const Status s = l2_.change(table + within * header_.l2_entry_size(), &raw, err); s != VBD_OK) return s;
  uint64_t word = 0, bitmap = 0;
  encode_entry(header_, entry, &word, &bitmap);
  store_be(raw, word);
  if (header_.extended_l2()) store_be(raw + 8, bitmap);
  return VBD_OK;
}

/// The guest no longer uses what `old` points at.
Status Image::drop(const Entry &old, bool punch, vbd_error *) {
  if (old.stored()) space_->release(old.host, old.packed() ? old.packed_bytes : cluster(), punch);
  return VBD_OK;
}

Status Image::write_l1(vbd_error *err) {
  unsigned char raw[512];
  for (uint64_t group = 0; group < l1_dirty_.size(); ++group) {
    if (!l1_dirty_[group]) continue;
    const uint64_t first = group * 64, n = std::min<uint64_t>(64, l1_.size() - first);
    for (uint64_t i = 0; i < n; ++i) store_be(raw + i * 8, l1_[first + i]);
    if (const Status s = file_.write(raw, n * 8, header_.l1_offset + first * 8, err); s != VBD_OK) return s;
    l1_dirty_[group] = false;
  }
  any_l1_dirty_ = false;
  return VBD_OK;
}

/// Counts before entries, new L2 tables before the L1 entries that name them, and all of it before what it
/// replaces is free again: a crash in between leaves space that is counted but not used, nothing worse.
Status Image::flush_tables(vbd_error *err) {
  if (failed_) return fail(err, VBD_E_IO, "qcow.failed", 0, "an earlier write of the image's tables failed");
  failed_ = true;  // unless all of it succeeds
  if (const Status s = space_->write_back(err); s != VBD_OK) return s;
  const bool entries = l2_.dirty_bytes() != 0;
  if (entries || any_l1_dirty_) {
    if (const Status s = file_.sync(err); s != VBD_OK) return s;
    if (const Status s = l2_.write_dirty(err); s != VBD_OK) return s;
  }
  if (any_l1_dirty_) {
    if (entries) {
      if (const Status s = file_.sync(err); s != VBD_OK) return s;
    }
    if (const Status s = write_l1(err); s != VBD_OK) return s;
  }
  if (const Status s = file_.sync(err); s != VBD_OK) return s;
  space_->synced();
  failed_ = false;
  return VBD_OK;
}

Status Image::relieve(vbd_error *err) {
  return l2_.dirty_bytes() < kMaxHeldBack ? VBD_OK : flush_tables(err);
}

Status Image::settle(vbd_error *err) {
  {
    const std::lock_guard lock(mutex_);
    if (!space_->has_released()) return VBD_OK;
  }
  // Nobody may still be reading at a place that becomes free.
  const std::unique_lock alone(readers_);
  const std::lock_guard lock(mutex_);
  {
    const std::lock_guard last(last_mutex_);
    last_.reset();
  }
  if (failed_) return VBD_OK;
  const Status status = space_->reuse_released(err);
  if (status != VBD_OK) failed_ = true;
  return status;
}

Status Image::flush(vbd_error *err) {
  if (!writable_) return VBD_OK;
  {
    const std::lock_guard lock(mutex_);
    if (const Status s = flush_tables(err); s != VBD_OK) return s;
  }
  return settle(err);
}

}  // namespace vbdkit::qcow
