// SPDX-License-Identifier: MIT
// The walk's inner part: L1 and L2 tables, bitmaps.
#include <algorithm>

#include "audit.hpp"
#include "bitmaps.hpp"

namespace vbdkit::qcow {

namespace {
constexpr std::size_t kBatch = 512u << 10;  // L2 tables that are sorted together: 4 MiB
constexpr std::size_t kMaxSpans = 2u << 20;
constexpr std::size_t kMaxClaims = 256u << 10;
constexpr uint64_t kLargeFile = 4ull << 30;
}  // namespace

void Audit::check_copied(uint64_t at, uint64_t host, bool copied) {
  if (!first_pass_ || counts_ == nullptr) return;
  uint64_t stored = 0;
  if (counts_->count(host >> header_.cluster_bits, &stored, nullptr) != VBD_OK || stored == 0) return;
  if ((stored == 1) == copied) return;
  const CopiedClaim claim{at, host, stored};
  if (!copied) {
    report_->error(
        "qcow.copied_missing", true,
        "an entry at or behind %llu says that cluster %llu is shared, but its reference count is 1", ull(at),
        ull(host));
  } else if (claims_.size() < kMaxClaims) {
    claims_.push_back(claim);
  } else {
    report_shared(claim);
  }
}

void Audit::report_shared(const CopiedClaim &claim) {
  report_->error(
      "qcow.copied_shared", false,
      "an entry at or behind %llu says that cluster %llu is unshared, but its reference count is %llu",
      ull(claim.at), ull(claim.host), ull(claim.stored));
}

/// Where the entry is right and only the count is too high, that is lost space, which is told elsewhere.
void Audit::settle_claims() {
  for (const CopiedClaim &claim : claims_) {
    const uint64_t cluster = claim.host >> shift_;
    if (tally_.mine(cluster) && tally_.count(cluster) > 1) report_shared(claim);
  }
}

Status Audit::walk_l1(const Table &table, std::vector<uint64_t> *batch, vbd_error *err) {
  const bool active = table.kind == Table::active;
  const uint64_t file_size = header_.file_size;
  std::vector<uint64_t> words;
  for (uint64_t at = 0; at < table.bytes; at += words.size() * 8) {
    words.resize(std::min<uint64_t>(8192, (table.bytes - at) / 8));
    if (const Status s = file_.read_padded(words.data(), words.size() * 8, table.offset + at, err);
        s != VBD_OK)
      return s;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == 0) continue;
      const uint64_t word = header_.xen_little_endian ? words[i] : swap_if_little(words[i]);
      uint64_t l2 = 0;
      if (const char *reason = decode_l1(header_, file_size, word, &l2); reason != nullptr) {
        if (first_pass_)
          report_->error(reason, false, "the L1 entry at %llu is 0x%016llx", ull(table.offset + at + i * 8),
                         ull(word));
        continue;
      }
      if (l2 == 0) continue;
      if (active && header_.version != 1) check_copied(table.offset + at + i * 8, l2, (word & kCopied) != 0);
      batch->push_back(l2);
      if (batch->size() < kBatch) continue;
      if (const Status s = walk_batch(batch, active, err); s != VBD_OK) return s;
    }
  }
  return VBD_OK;
}

Status Audit::walk_batch(std::vector<uint64_t> *batch, bool active, vbd_error *err) {
  std::sort(batch->begin(), batch->end());
  for (std::size_t i = 0; i < batch->size();) {
    L2 l2{(*batch)[i], 0};
    while (i < batch->size() && (*batch)[i] == l2.offset) {
      ++l2.times;
      ++i;
    }
    if (header_.version == 1 && l2.times > 1 && first_pass_)
      report_->error("qcow.l2_shared", false, "%llu L1 entries point at the L2 table at %llu", ull(l2.times),
                     ull(l2.offset));
    const Use use = header_.version == 1 ? Use::exclusive : Use::l2;
    mark(l2.offset, header_.l2_bytes(), use, header_.version == 1 ? 1 : l2.times, "an L2 table");
    if (const Status s = walk_l2(l2, active, err); s != VBD_OK) return s;
  }
  batch->clear();
  return VBD_OK;
}

/// In a pass after the first: nothing in this table points into the window.
bool Audit::skip_l2() {
  const std::size_t ordinal = ordinal_++;
  span_ = nullptr;
  if (ordinal >= kMaxSpans) return false;
  if (counting_only_) {
    if (ordinal >= spans_.size()) spans_.resize(std::max<std::size_t>(1024, spans_.size() * 2));
    span_ = &spans_[ordinal];
    return false;
  }
  if (first_pass_ || ordinal >= spans_.size() || !tally_.is_array()) return false;
  const uint64_t window = tally_.first() / Tally::kArrayGranules;
  return window < spans_[ordinal].low || window > spans_[ordinal].high;
}

Status Audit::walk_l2(const L2 &l2, bool active, vbd_error *err) {
  if (skip_l2()) return VBD_OK;
  const uint64_t bytes = header_.l2_bytes(), entry = header_.l2_entry_size();
  // A huge file is mostly holes; tables that lie in one are not read.
  if (header_.file_size > kLargeFile && file_.is_hole(l2.offset, bytes)) {
    span_ = nullptr;
    return VBD_OK;
  }
  for (uint64_t at = 0; at < bytes; at += buffer_.size()) {
    const uint64_t now = std::min<uint64_t>(buffer_.size(), bytes - at);
    if (const Status s = file_.read_padded(buffer_.data(), now, l2.offset + at, err); s != VBD_OK) return s;
    DataRun run;
    run.at = l2.offset + at;
    for (uint64_t i = 0; i < now; i += entry) {
      uint64_t word;
      std::memcpy(&word, buffer_.data() + i, 8);
      if (word == 0 && entry == 8) continue;
      if (extends(swap_if_little(word), &run)) continue;
      finish_run(&run, l2, active);
      run.at = l2.offset + at + i;
      if (!extends(swap_if_little(word), &run)) walk_entry(run.at, buffer_.data() + i, l2, active);
    }
    finish_run(&run, l2, active);
  }
  span_ = nullptr;
  return VBD_OK;
}

/// Most entries are plain and follow each other in the file: they are counted as one range.
bool Audit::extends(uint64_t word, DataRun *run) const noexcept {
  const uint64_t host = word & kOffsetMask, cluster = header_.cluster_size();
  if ((word & ~(kCopied | kOffsetMask)) != 0 || host == 0 || header_.version == 1 || header_.extended_l2() ||
      header_.data_file())
    return false;
  const bool copied = (word & kCopied) != 0;
  if (run->clusters > 0 && (host != run->host + run->clusters * cluster || copied != run->copied))
    return false;
  if (!is_aligned(host, cluster) || host >= header_.file_size) return false;
  if (run->clusters == 0) {
    run->host = host;
    run->copied = copied;
  }
  ++run->clusters;
  return true;
}

void Audit::finish_run(DataRun *run, const L2 &l2, bool active) {
  if (run->clusters == 0) return;
  mark(run->host, run->clusters << header_.cluster_bits, Use::data, l2.times, "data");
  if (active && first_pass_ && counts_ != nullptr) {
    counted_.resize(run->clusters);
    if (counts_->read_counts(run->host >> header_.cluster_bits, &counted_, nullptr) == VBD_OK) {
      for (uint64_t i = 0; i < run->clusters; ++i) {
        if ((counted_[i] == 1) == run->copied) continue;
        check_copied(run->at, run->host + (i << header_.cluster_bits), run->copied);
      }
    }
  }
  run->clusters = 0;
}

void Audit::walk_entry(uint64_t at, const unsigned char *raw, const L2 &l2, bool active) {
  Entry e;
  const uint64_t word = be64(raw, 0);
  const uint64_t bitmap = header_.extended_l2() ? be64(raw, 8) : 0;
  if (const char *reason = decode_entry(header_, header_.file_size, word, bitmap, &e); reason != nullptr) {
    if (first_pass_) report_->error(reason, false, "the L2 entry at %llu is 0x%016llx", ull(at), ull(word));
    return;
  }
  if (!e.stored() || header_.data_file()) return;
  if (header_.version == 1) {
    mark(e.host, e.packed() ? e.packed_bytes : header_.cluster_size(),
         e.packed() ? Use::data : Use::exclusive, 1, "data");
    return;
  }
  if (e.packed()) {
    mark(e.host, e.packed_bytes, Use::data, l2.times, "compressed data");
    return;
  }
  mark(e.host, header_.cluster_size(), Use::data, l2.times, "data");
  if (active) check_copied(at, e.host, e.copied);
}

Status Audit::walk_bitmap(const Table &table, vbd_error *err) {
  std::vector<uint64_t> words;
  for (uint64_t at = 0; at < table.bytes; at += words.size() * 8) {
    words.resize(std::min<uint64_t>(8192, (table.bytes - at) / 8));
    if (const Status s = file_.read_padded(words.data(), words.size() * 8, table.offset + at, err);
        s != VBD_OK)
      return s;
    for (uint64_t word : words) {
      word = swap_if_little(word);
      const uint64_t host = word & kOffsetMask;
      if (host == 0 && (word & ~1ull) == 0) continue;
      const bool bad = (word & kBitmapTableReserved) != 0 || (host != 0 && (word & 1) != 0) ||
                       !is_aligned(host, header_.cluster_size()) || host < header_.cluster_size() ||
                       host >= header_.file_size;
      if (bad) {
        if (first_pass_)
          report_->error("qcow.bitmap_table_entry", false,
                         "an entry of the bitmap table at %llu is 0x%016llx", ull(table.offset), ull(word));
        continue;
      }
      mark(host, header_.cluster_size(), Use::exclusive, 1, "a bitmap's data");
    }
  }
  return VBD_OK;
}

}  // namespace vbdkit::qcow
