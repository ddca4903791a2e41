// SPDX-License-Identifier: MIT
// How often each piece ("granule") of the file is pointed at, and by what: for one part of the file at a
// time, so that memory is bounded whatever the file. One thread.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace vbdkit::qcow {

/// What points at a granule. Only data and L2 tables may be shared, each with its like.
enum class Use : uint16_t { data = 1u << 13, l2 = 1u << 14, exclusive = 1u << 15 };

class Tally {
 public:
  static constexpr uint64_t kArrayGranules = 8u << 20;  // 16 MiB
  static constexpr uint64_t kHashGranules = 1u << 20;   // of 12 bytes, half full

  /// All of a file of so many granules that fits.
  void start_array(uint64_t first, uint64_t granules);
  /// Of any file those with hash `part` of `parts`.
  void start_hash(uint64_t part, uint64_t parts);

  /// One more use, `times` over. False: a granule is used by things that exclude each other.
  bool add(uint64_t first, uint64_t last, Use use, uint64_t times);
  [[nodiscard]] uint64_t count(uint64_t granule) const;
  /// The first of `n` granules whose count is not the one given; `n` if there is none. Arrays only.
  [[nodiscard]] uint64_t first_different(uint64_t first, const uint64_t *counts, uint64_t n) const;
  [[nodiscard]] bool mine(uint64_t granule) const;
  [[nodiscard]] bool full() const { return full_; }
  [[nodiscard]] bool is_array() const { return array_; }
  [[nodiscard]] uint64_t first() const { return first_; }
  [[nodiscard]] uint64_t granules() const { return granules_; }
  template <class Each>
  void each_hashed(Each &&each) const {
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (keys_[i] != 0) each(keys_[i] - 1, count(keys_[i] - 1));
    }
  }

 private:
  static constexpr uint16_t kCountMask = 0x1fff, kMore = 0x1fff;  // kMore: the number is in many_
  uint16_t *cell(uint64_t granule);
  [[nodiscard]] const uint16_t *find(uint64_t granule) const;
  bool add_to(uint16_t *at, uint64_t granule, Use use, uint64_t times);

  bool array_ = true, full_ = false;
  uint64_t first_ = 0, granules_ = 0, part_ = 0, parts_ = 1, used_ = 0;
  std::vector<uint16_t> cells_;
  std::vector<uint64_t> keys_;  // granule + 1; 0: empty
  std::unordered_map<uint64_t, uint64_t> many_;
};

}  // namespace vbdkit::qcow
