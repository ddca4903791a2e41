// SPDX-License-Identifier: MIT
#include "audit.hpp"

#include <algorithm>

#include "bitmaps.hpp"
#include "snapshots.hpp"

namespace vbdkit::qcow {

namespace {
uint32_t granule_bits(const Header &h) {
  // Version 1 packs compressed clusters right behind an L2 table, which may be smaller than a cluster.
  return h.version == 1 ? std::min(h.cluster_bits, h.l2_bits + 3) : h.cluster_bits;
}
}  // namespace

void Report::error(const char *reason, bool harmless, const char *format, ...) {
  char text[200];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (reason_ == nullptr || (!harmless && dangerous_ == 0)) {
    reason_ = reason;
    first_ = text;
  }
  ++errors_;
  reasons_.insert(reason);
  if (!harmless) ++dangerous_;
  if (findings_.size() < 64) findings_.push_back(std::string(reason) + ": " + text);
}

bool Report::has(const char *reason) const {
  return reasons_.contains(reason);
}

Audit::Audit(const File &file, const Header &header, Report *report, CountedSpace *counts)
    : file_(file),
      header_(header),
      report_(report),
      counts_(counts),
      shift_(granule_bits(header)),
      granules_(units_of(header.file_size, 1ull << shift_)),
      buffer_(65536) {}

Status Audit::gather(vbd_error *err) {
  tables_.push_back({header_.l1_offset, header_.l1_entries * 8, Table::active});
  const auto faulty = [&](Status status, const char *what) {
    if (status != VBD_E_CORRUPT) return status;
    report_->error(err->reason != nullptr ? err->reason : "qcow.table", false, "%s: %s", what,
                   err->msg != nullptr ? err->msg : "damaged");
    return Status{VBD_OK};
  };
  Status status = for_each_snapshot(file_, header_, &snapshot_table_bytes_, err, [&](const Snapshot &one) {
    if (one.l1_entries > 0) tables_.push_back({one.l1_offset, one.l1_entries * 8ull, Table::snapshot});
    return Status{VBD_OK};
  });
  if (status = faulty(status, "snapshot table"); status != VBD_OK) return status;
  status = for_each_bitmap(file_, header_, err, [&](const Bitmap &one) {
    if (one.table_bytes > 0) tables_.push_back({one.table_offset, one.table_bytes, Table::bitmap});
    return Status{VBD_OK};
  });
  if (status = faulty(status, "bitmap directory"); status != VBD_OK) return status;
  // Tables that share bytes are wrong, and walking them again and again would take for ever.
  std::sort(tables_.begin(), tables_.end(),
            [](const Table &a, const Table &b) { return a.offset < b.offset; });
  uint64_t end = 0;
  std::erase_if(tables_, [&](const Table &one) {
    if (one.bytes == 0) return true;
    if (one.offset < end) {
      report_->error("qcow.tables_overlap", false, "the table at %llu overlaps another one", ull(one.offset));
      return true;
    }
    end = one.offset + one.bytes;
    return false;
  });
  return VBD_OK;
}

void Audit::mark(uint64_t offset, uint64_t bytes, Use use, uint64_t times, const char *what) {
  if (bytes == 0) return;
  const uint64_t first = offset >> shift_, last = (offset + bytes - 1) >> shift_;
  if (span_ != nullptr) {
    span_->low = std::min(span_->low, static_cast<uint32_t>(first / Tally::kArrayGranules));
    span_->high = std::max(span_->high, static_cast<uint32_t>(last / Tally::kArrayGranules));
  }
  if (counting_only_) {
    references_ += last - first + 1;
    return;
  }
  if (!tally_.add(first, last, use, times))
    report_->error("qcow.overlap", false, "%s at %llu overlaps something else", what, ull(offset));
}

void Audit::mark_refcounts() {
  if (counts_ == nullptr) return;
  mark(header_.refcount_table_offset, uint64_t{header_.refcount_table_clusters} << header_.cluster_bits,
       Use::exclusive, 1, "the refcount table");
  for (const uint64_t block : counts_->table()) {
    if (block != 0) mark(block, header_.cluster_size(), Use::exclusive, 1, "a refcount block");
  }
}

Status Audit::mark_fixed(vbd_error *) {
  if (header_.version == 1) {  // the header, its L1 table and a name may share a granule
    const uint64_t end = header_.l1_offset + header_.l1_entries * 8;
    const uint64_t from = header_.l1_offset >> shift_ == 0 ? end : 1;
    mark(0, from, Use::exclusive, 1, "the header");
    if (from == 1) mark(header_.l1_offset, header_.l1_entries * 8, Use::exclusive, 1, "the L1 table");
    return VBD_OK;
  }
  mark(0, header_.cluster_size(), Use::exclusive, 1, "the header");
  mark_refcounts();
  mark(header_.snapshots_offset, snapshot_table_bytes_, Use::exclusive, 1, "the snapshot table");
  if (header_.bitmap_count > 0)
    mark(header_.bitmaps_offset, header_.bitmaps_size, Use::exclusive, 1, "the bitmap directory");
  for (const Table &table : tables_)
    mark(table.offset, table.bytes, Use::exclusive, 1,
         table.kind == Table::bitmap ? "a bitmap's table" : "an L1 table");
  return VBD_OK;
}

Status Audit::pass(vbd_error *err) {
  ordinal_ = 0;
  if (const Status s = mark_fixed(err); s != VBD_OK) return s;
  std::vector<uint64_t> batch;
  for (const Table &table : tables_) {  // snapshots together, so that what they share is read once
    if (table.kind != Table::snapshot) continue;
    if (const Status s = walk_l1(table, &batch, err); s != VBD_OK) return s;
  }
  if (const Status s = walk_batch(&batch, false, err); s != VBD_OK) return s;
  for (const Table &table : tables_) {
    Status status = VBD_OK;
    if (table.kind == Table::active) {
      status = walk_l1(table, &batch, err);
      if (status == VBD_OK) status = walk_batch(&batch, true, err);
    } else if (table.kind == Table::bitmap) {
      status = walk_bitmap(table, err);
    }
    if (status != VBD_OK) return status;
  }
  first_pass_ = false;
  return VBD_OK;
}

Status Audit::run(const std::function<Status(const Tally &)> &done, vbd_error *err) {
  if (const Status s = gather(err); s != VBD_OK) return s;
  const uint64_t windows = std::max<uint64_t>(1, units_of(granules_, Tally::kArrayGranules));
  uint64_t parts = windows;
  bool array = true;
  if (windows > 1) {  // few references in a huge file: by hash; else window by window
    if (windows < (1u << 31)) spans_.reserve(1024);
    counting_only_ = true;
    if (const Status s = pass(err); s != VBD_OK) return s;
    counting_only_ = false;
    const uint64_t hashed = references_ / Tally::kHashGranules + 1;
    array = windows <= hashed;
    parts = std::min(windows, hashed);
  }
  for (uint64_t part = 0; part < parts; ++part) {
    const uint64_t first = part * Tally::kArrayGranules;
    if (array) {
      tally_.start_array(first, std::min(Tally::kArrayGranules, granules_ - first));
    } else {
      tally_.start_hash(part, parts);
    }
    if (const Status s = pass(err); s != VBD_OK) return s;
    if (tally_.full())
      return fail(err, VBD_E_INTERNAL, "qcow.check_full", 0, "the check's table is too small");
    settle_claims();
    if (const Status s = done(tally_); s != VBD_OK) return s;
  }
  return VBD_OK;
}

}  // namespace vbdkit::qcow
