// SPDX-License-Identifier: MIT
// Space of versions 2 and 3: reference counts in blocks, found through the refcount table. See space.hpp for
// the order in which things reach the file.
#pragma once

#include <functional>

#include "refcount_bits.hpp"
#include "space.hpp"

namespace vbdkit::qcow {

class CountedSpace final : public Space {
 public:
  CountedSpace(const File &file, Header &header);
  [[nodiscard]] Status load(vbd_error *err);

  Status allocate(uint64_t want, Run *run, vbd_error *err) override;
  Status allocate_table(uint64_t bytes, Run *run, vbd_error *err) override;
  Status allocate_packed(uint64_t bytes, uint64_t *offset, vbd_error *err) override;
  Status cancel(uint64_t offset, uint64_t bytes, vbd_error *err) override;
  void release(uint64_t offset, uint64_t bytes, bool punch) override;
  Status write_back(vbd_error *err) override;
  bool dirty() const override { return blocks_.dirty_bytes() != 0 || !new_blocks_.empty(); }
  void synced() override;
  Status reuse_released(vbd_error *err) override;
  bool has_released() const override { return !released_.empty(); }
  Status trim(vbd_error *err) override;

  /// The count of a cluster (by index) as it is now.
  [[nodiscard]] Status count(uint64_t cluster, uint64_t *value, vbd_error *err);
  /// Those of `counts->size()` clusters.
  [[nodiscard]] Status read_counts(uint64_t first, std::vector<uint64_t> *counts, vbd_error *err);
  /// Each cluster below `end` whose count is not 0.
  [[nodiscard]] Status each_counted(uint64_t end, vbd_error *err,
                                    const std::function<Status(uint64_t cluster, uint64_t count)> &each);
  /// For check: the count is set to what the tables say.
  [[nodiscard]] Status repair(uint64_t cluster, uint64_t value, vbd_error *err);
  [[nodiscard]] const std::vector<uint64_t> &table() const noexcept { return table_; }

 private:
  struct Released {
    uint64_t offset, bytes;
    bool punch;
  };
  [[nodiscard]] uint64_t cluster_of(uint64_t offset) const noexcept { return offset >> header_.cluster_bits; }
  struct Place {
    uint64_t offset = 0, index = 0;
  };
  [[nodiscard]] Place place_of(uint64_t cluster) const noexcept;
  [[nodiscard]] Status set_counts(uint64_t cluster, uint64_t clusters, uint64_t value, vbd_error *err);
  [[nodiscard]] Status add(uint64_t cluster, int64_t change, uint64_t *after, vbd_error *err);
  [[nodiscard]] Status run_of(uint64_t cluster, uint64_t want, bool *is_free, uint64_t *length,
                              vbd_error *err);
  [[nodiscard]] Status find_free(uint64_t want, uint64_t *cluster, uint64_t *length, vbd_error *err);
  /// A new block at cluster `at`, which it counts itself.
  [[nodiscard]] Status add_block(uint64_t index, uint64_t at, vbd_error *err);
  [[nodiscard]] Status cover(uint64_t first, uint64_t clusters, uint64_t *begin, vbd_error *err);
  [[nodiscard]] Status grow_table(uint64_t blocks, vbd_error *err);
  [[nodiscard]] Status write_new_table(uint64_t at, const std::vector<uint64_t> &table, vbd_error *err);
  [[nodiscard]] Status check_limit(uint64_t clusters, vbd_error *err) const;

  Header &own_header_;
  uint64_t per_block_;                // counts in a block
  std::vector<uint64_t> table_;       // offsets of the blocks
  std::vector<uint64_t> new_blocks_;  // indexes in table_ that the file does not know yet
  Slices blocks_;
  uint64_t per_slice_;                       // counts in a slice of a block
  uint64_t next_free_ = 0;                   // no free cluster lies before
  uint64_t packed_at_ = 0, packed_end_ = 0;  // room left in the cluster that compressed data last went to
  std::vector<Released> pending_;            // until the next sync
  std::vector<Released> released_;           // after it
};

}  // namespace vbdkit::qcow
