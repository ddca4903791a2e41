// SPDX-License-Identifier: MIT
// The walk over everything in an image that points at bytes of the file: O(metadata), in bounded memory. Each
// L2 table is read once a pass however many snapshots share it, so time is bounded by the file's size too.
// One thread.
#pragma once

#include <functional>
#include <vector>

#include "entries.hpp"
#include "refcounts.hpp"
#include "report.hpp"
#include "tally.hpp"

namespace vbdkit::qcow {

class Audit {
 public:
  /// `counts` is null for version 1 and where the refcount structures are to be ignored.
  Audit(const File &file, const Header &header, Report *report, CountedSpace *counts);

  /// Every reference is checked and counted; `done` gets each finished part of the file. Faults of the
  /// structure that end the walk (a snapshot table that can't be read) are errors in the report, not of the
  /// call.
  [[nodiscard]] Status run(const std::function<Status(const Tally &)> &done, vbd_error *err);

  [[nodiscard]] uint64_t granule() const noexcept { return 1ull << shift_; }
  [[nodiscard]] uint64_t granules() const noexcept { return granules_; }
  /// Told where the refcount structures are broken, so that only a new set helps.
  [[nodiscard]] bool refcounts_broken() const noexcept { return refcounts_broken_; }
  [[nodiscard]] uint64_t references() const noexcept { return references_; }

 private:
  struct Table {
    uint64_t offset, bytes;
    enum Kind { active, snapshot, bitmap } kind;
  };
  struct L2 {
    uint64_t offset, times;
  };
  struct DataRun {
    uint64_t at = 0, host = 0, clusters = 0;
    bool copied = false;
  };
  bool extends(uint64_t word, DataRun *run) const noexcept;
  void finish_run(DataRun *run, const L2 &l2, bool active);
  Status gather(vbd_error *err);  // all L1 and bitmap tables, once
  Status pass(vbd_error *err);
  void mark(uint64_t offset, uint64_t bytes, Use use, uint64_t times, const char *what);
  Status mark_fixed(vbd_error *err);  // header, tables, refcount structures
  void mark_refcounts();
  Status walk_l1(const Table &table, std::vector<uint64_t> *batch, vbd_error *err);
  Status walk_batch(std::vector<uint64_t> *batch, bool active, vbd_error *err);
  Status walk_l2(const L2 &l2, bool active, vbd_error *err);
  void walk_entry(uint64_t at, const unsigned char *raw, const L2 &l2, bool active);
  void check_copied(uint64_t at, uint64_t host, bool copied);
  /// An entry that says "unshared" of a cluster that is counted more than once.
  struct CopiedClaim {
    uint64_t at, host, stored;
  };
  void report_shared(const CopiedClaim &claim);
  void settle_claims();  // of the part that was counted
  Status walk_bitmap(const Table &table, vbd_error *err);
  [[nodiscard]] bool skip_l2();

  File file_;
  const Header &header_;
  Report *report_;
  CountedSpace *counts_;
  uint32_t shift_;
  uint64_t granules_;
  bool first_pass_ = true;
  bool counting_only_ = false;
  bool refcounts_broken_ = false;
  uint64_t references_ = 0;
  uint64_t snapshot_table_bytes_ = 0;
  std::vector<Table> tables_;
  Tally tally_;
  // Which part of the file the entries of each L2 table point at, in the order of the walk: most need one
  // pass only.
  struct Span {
    uint32_t low = ~0u, high = 0;
  };
  std::vector<Span> spans_;
  std::size_t ordinal_ = 0;
  Span *span_ = nullptr;
  std::vector<unsigned char> buffer_;
  std::vector<uint64_t> counted_;
  std::vector<CopiedClaim> claims_;
};

}  // namespace vbdkit::qcow
