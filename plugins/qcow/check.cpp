// SPDX-License-Identifier: MIT
#include "check.hpp"

#include <algorithm>
#include <string>

#include "audit.hpp"
#include "repair.hpp"

namespace vbdkit::qcow {

namespace {

/// Counts in the file against what was found.
class Compare {
 public:
  Compare(CountedSpace *counts, const Header &header, Report *report, bool fix_leaks)
      : counts_(counts), header_(header), report_(report), fix_leaks_(fix_leaks) {}

  Status part(const Tally &tally, vbd_error *err) {
    return tally.is_array() ? part_of_array(tally, err) : part_of_hash(tally, err);
  }
  [[nodiscard]] bool too_low() const { return too_low_; }
  [[nodiscard]] uint64_t fixed() const { return fixed_; }

 private:
  Status one(uint64_t cluster, uint64_t stored, uint64_t used, vbd_error *err) {
    if (stored == used) return VBD_OK;
    if (stored > used) {
      if (!fix_leaks_) {
        report_->leak(1);
        return VBD_OK;
      }
      ++fixed_;
      return counts_->repair(cluster, used, err);
    }
    too_low_ = true;
    report_->error("qcow.refcount_too_low", false, "cluster %llu is used %llu times, but counted %llu times",
                   ull(cluster), ull(used), ull(stored));
    return VBD_OK;
  }

  Status part_of_array(const Tally &tally, vbd_error *err) {
    std::vector<uint64_t> stored;
    const uint64_t end = tally.first() + tally.granules();
    for (uint64_t at = tally.first(); at < end; at += stored.size()) {
      stored.resize(std::min<uint64_t>(4096, end - at));
      if (const Status s = counts_->read_counts(at, &stored, err); s != VBD_OK) return s;
      for (uint64_t i = 0;; ++i) {
        i += tally.first_different(at + i, stored.data() + i, stored.size() - i);
        if (i >= stored.size()) break;
        if (const Status s = one(at + i, stored[i], tally.count(at + i), err); s != VBD_OK) return s;
      }
    }
    return VBD_OK;
  }

  Status part_of_hash(const Tally &tally, vbd_error *err) {
    Status status = VBD_OK;
    tally.each_hashed([&](uint64_t cluster, uint64_t used) {
      uint64_t stored = 0;
      if (status == VBD_OK) status = counts_->count(cluster, &stored, err);
      if (status == VBD_OK && stored < used) status = one(cluster, stored, used, err);
    });
    if (status != VBD_OK) return status;
    return counts_->each_counted(units_of(header_.file_size, header_.cluster_size()), err,
                                 [&](uint64_t cluster, uint64_t stored) {
                                   if (!tally.mine(cluster)) return Status{VBD_OK};
                                   const uint64_t used = tally.count(cluster);
                                   return stored > used ? one(cluster, stored, used, err) : Status{VBD_OK};
                                 });
  }

  CountedSpace *counts_;
  const Header &header_;
  Report *report_;
  bool fix_leaks_;
  bool too_low_ = false;
  uint64_t fixed_ = 0;
};

/// Version 1 has no counts: a cluster that nothing points at is lost space.
void count_leaks_v1(const Header &h, uint64_t granule, const Tally &tally, Report *report) {
  if (h.xen || !tally.is_array()) return;  // blktap reserves whole stretches before it uses them
  const uint64_t per_cluster = h.cluster_size() / granule;
  for (uint64_t c = tally.first(); c + per_cluster <= tally.first() + tally.granules(); c += per_cluster) {
    bool used = false;
    for (uint64_t g = c; g < c + per_cluster; ++g) used |= tally.count(g) != 0;
    if (!used) report->leak(1);
  }
}

struct Outcome {
  bool new_counts_needed = false;
  uint64_t leaks_fixed = 0;
};

Status audit_once(const File &file, Header &h, bool fix_leaks, Report *report, Outcome *outcome,
                  vbd_error *err) {
  if (h.version == 1) {
    Audit audit(file, h, report, nullptr);
    return audit.run(
        [&](const Tally &tally) {
          count_leaks_v1(h, audit.granule(), tally, report);
          return Status{VBD_OK};
        },
        err);
  }
  CountedSpace counts(file, h);
  const char *broken = h.refcounts_broken;
  if (broken == nullptr) {
    const Status status = counts.load(err);
    if (status == VBD_E_CORRUPT) {
      broken = err->reason;
    } else if (status != VBD_OK) {
      return status;
    }
  }
  if (broken != nullptr) {
    report->error(broken, false, "the refcount structures can't be used");
    outcome->new_counts_needed = true;
    Audit audit(file, h, report, nullptr);
    return audit.run([](const Tally &) { return Status{VBD_OK}; }, err);
  }
  Audit audit(file, h, report, &counts);
  Compare compare(&counts, h, report, fix_leaks);
  const Status status = audit.run([&](const Tally &tally) { return compare.part(tally, err); }, err);
  if (status != VBD_OK) return status;
  outcome->new_counts_needed = compare.too_low() || report->has("qcow.overlap");
  outcome->leaks_fixed = compare.fixed();
  if (compare.fixed() == 0) return VBD_OK;
  if (const Status s = counts.write_back(err); s != VBD_OK) return s;
  return file.sync(err);
}

Status put(const Report &report, uint64_t leaks_repaired, uint64_t errors_repaired, vbd_sink *out,
           vbd_error *err) {
  Sink sink(out);
  sink.number("leaks", report.leaks());
  sink.number("errors", report.errors());
  if (leaks_repaired > 0) sink.number("leaks_repaired", leaks_repaired);
  if (errors_repaired > 0) sink.number("errors_repaired", errors_repaired);
  for (std::size_t i = 0; i < report.findings().size(); ++i)
    sink.text(("finding." + std::to_string(i)).c_str(), report.findings()[i].c_str());
  if (sink.status() != VBD_OK) return sink.status();
  if (report.errors() == 0) return VBD_OK;
  return corrupt(err, report.reason(), "%llu errors, the first: %s", ull(report.errors()),
                 report.first().c_str());
}

}  // namespace

Status verify_for_writing(const File &file, const Header &header, vbd_error *err) {
  Report report;
  Outcome outcome;
  Header copy = header;
  if (const Status s = audit_once(file, copy, false, &report, &outcome, err); s != VBD_OK) return s;
  if (report.dangerous() == 0) return VBD_OK;
  return corrupt(err, report.reason(), "%s (%llu errors: see check)", report.first().c_str(),
                 ull(report.errors()));
}

Status check(const File &file, uint32_t must, vbd_sink *sink, vbd_error *err) {
  const bool all = (must & VBD_MUST_REPAIR_ALL) != 0, leaks = all || (must & VBD_MUST_REPAIR_LEAKS) != 0;
  const bool dry = (must & VBD_MUST_DRY_RUN) != 0;
  Header h;
  if (const Status s = read_header(file, Purpose::check, &h, err); s != VBD_OK) return s;
  Report report;
  Outcome outcome;
  if (const Status s = audit_once(file, h, false, &report, &outcome, err); s != VBD_OK) return s;
  const bool marked = (h.incompatible & (kDirty | kCorrupt)) != 0;
  const bool work =
      (all && (report.errors() > 0 || report.leaks() > 0 || marked)) || (leaks && report.leaks() > 0);
  if (!work || dry || h.version == 1) return put(report, 0, 0, sink, err);
  if (file.read_only()) return fail(err, VBD_E_PERM, "qcow.read_only", 0, "the image is open to read only");

  if (all && outcome.new_counts_needed) {
    if (const Status s = rebuild_refcounts(file, &h, err); s != VBD_OK) return s;
  } else {
    Report ignored;
    if (const Status s = audit_once(file, h, true, &ignored, &outcome, err); s != VBD_OK) return s;
  }
  if (all) {
    if (const Status s = repair_copied(file, &h, err); s != VBD_OK) return s;
  }
  Report after;
  Outcome last;
  if (const Status s = audit_once(file, h, false, &after, &last, err); s != VBD_OK) return s;
  if (all && after.errors() == 0 && marked) {
    if (const Status s = clear_marks(file, &h, err); s != VBD_OK) return s;
  }
  const uint64_t leaks_repaired = report.leaks() > after.leaks() ? report.leaks() - after.leaks() : 0;
  const uint64_t errors_repaired = report.errors() > after.errors() ? report.errors() - after.errors() : 0;
  return put(after, leaks_repaired, errors_repaired, sink, err);
}

}  // namespace vbdkit::qcow
