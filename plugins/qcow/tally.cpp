// SPDX-License-Identifier: MIT
#include "tally.hpp"

#include <algorithm>

namespace vbdkit::qcow {

namespace {
uint64_t mix(uint64_t x) {  // the finisher of MurmurHash3
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdull;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ull;
  return x ^ (x >> 33);
}
}  // namespace

void Tally::start_array(uint64_t first, uint64_t granules) {
  array_ = true;
  full_ = false;
  first_ = first;
  granules_ = granules;
  cells_.assign(granules, 0);
  many_.clear();
}

void Tally::start_hash(uint64_t part, uint64_t parts) {
  array_ = full_ = false;
  part_ = part;
  parts_ = parts;
  used_ = 0;
  keys_.assign(2 * kHashGranules, 0);
  cells_.assign(2 * kHashGranules, 0);
  many_.clear();
}

bool Tally::mine(uint64_t granule) const {
  if (array_) return granule >= first_ && granule - first_ < granules_;
  return (mix(granule) >> 40) % parts_ == part_;
}

const uint16_t *Tally::find(uint64_t granule) const {
  if (array_) return &cells_[granule - first_];
  for (std::size_t i = mix(granule) % keys_.size();; i = (i + 1) % keys_.size()) {
    if (keys_[i] == granule + 1) return &cells_[i];
    if (keys_[i] == 0) return nullptr;
  }
}

uint16_t *Tally::cell(uint64_t granule) {
  if (array_) return &cells_[granule - first_];
  for (std::size_t i = mix(granule) % keys_.size();; i = (i + 1) % keys_.size()) {
    if (keys_[i] == granule + 1) return &cells_[i];
    if (keys_[i] != 0) continue;
    if (used_ >= keys_.size() * 3 / 4) {
      full_ = true;
      return nullptr;
    }
    ++used_;
    keys_[i] = granule + 1;
    return &cells_[i];
  }
}

bool Tally::add_to(uint16_t *at, uint64_t granule, Use use, uint64_t times) {
  const auto bit = static_cast<uint16_t>(use);
  if (*at == 0 && times < kMore) {
    *at = static_cast<uint16_t>(bit | times);
    return true;
  }
  const uint16_t uses = *at & static_cast<uint16_t>(~kCountMask);
  const bool good = uses == 0 || (uses == bit && use != Use::exclusive);
  const uint64_t before = *at & kCountMask;
  const uint64_t total = (before == kMore ? many_[granule] : before) + times;
  if (total >= kMore) many_[granule] = total;
  *at = static_cast<uint16_t>(uses | bit | std::min<uint64_t>(total, kMore));
  return good;
}

bool Tally::add(uint64_t first, uint64_t last, Use use, uint64_t times) {
  if (array_) {
    if (last < first_ || first >= first_ + granules_) return true;
    first = std::max(first, first_);
    last = std::min(last, first_ + granules_ - 1);
  }
  bool good = true;
  for (uint64_t g = first; g <= last; ++g) {
    if (!array_ && !mine(g)) continue;
    uint16_t *at = cell(g);
    if (at != nullptr) good &= add_to(at, g, use, times);
  }
  return good;
}

uint64_t Tally::first_different(uint64_t first, const uint64_t *counts, uint64_t n) const {
  const uint16_t *cells = cells_.data() + (first - first_);
  for (uint64_t i = 0; i < n; ++i) {
    const uint64_t used = cells[i] & kCountMask;
    if (used != counts[i] || used == kMore) return i;
  }
  return n;
}

uint64_t Tally::count(uint64_t granule) const {
  const uint16_t *at = find(granule);
  if (at == nullptr) return 0;
  const uint64_t n = *at & kCountMask;
  return n == kMore ? many_.at(granule) : n;
}

}  // namespace vbdkit::qcow
