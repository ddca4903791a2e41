// SPDX-License-Identifier: MIT
// Many counts at once, for check.
#include <algorithm>

#include "refcounts.hpp"

namespace vbdkit::qcow {

Status CountedSpace::read_counts(uint64_t first, std::vector<uint64_t> *counts, vbd_error *err) {
  for (std::size_t i = 0; i < counts->size();) {
    const Place place = place_of(first + i);
    const uint64_t left = counts->size() - i;
    if (place.offset == 0) {  // nothing is counted up to the end of the block
      const uint64_t n = std::min(left, per_block_ - (first + i) % per_block_);
      std::fill_n(counts->begin() + static_cast<std::ptrdiff_t>(i), n, 0);
      i += n;
      continue;
    }
    const unsigned char *slice = nullptr;
    if (const Status s = blocks_.at(place.offset, &slice, err); s != VBD_OK) return s;
    const uint64_t n = std::min(left, per_slice_ - place.index);
    if (header_.refcount_order == 4) {  // nearly all images: a loop that is done by vectors
      for (uint64_t k = 0; k < n; ++k) (*counts)[i + k] = get_refcount(slice, 4, place.index + k);
    } else {
      for (uint64_t k = 0; k < n; ++k)
        (*counts)[i + k] = get_refcount(slice, header_.refcount_order, place.index + k);
    }
    i += n;
  }
  return VBD_OK;
}

Status CountedSpace::each_counted(uint64_t end, vbd_error *err,
                                  const std::function<Status(uint64_t, uint64_t)> &each) {
  std::vector<uint64_t> counts;
  for (uint64_t b = 0; b < table_.size() && b * per_block_ < end; ++b) {
    if (table_[b] == 0 || file_.is_hole(table_[b], header_.cluster_size())) continue;
    const uint64_t stop = std::min(end, (b + 1) * per_block_);
    for (uint64_t at = b * per_block_; at < stop; at += counts.size()) {
      counts.resize(std::min<uint64_t>(4096, stop - at));
      if (const Status s = read_counts(at, &counts, err); s != VBD_OK) return s;
      for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] == 0) continue;
        if (const Status s = each(at + i, counts[i]); s != VBD_OK) return s;
      }
    }
  }
  return VBD_OK;
}

Status CountedSpace::repair(uint64_t cluster, uint64_t value, vbd_error *err) {
  return set_counts(cluster, 1, value, err);
}

}  // namespace vbdkit::qcow
