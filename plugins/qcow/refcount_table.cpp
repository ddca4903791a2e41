// SPDX-License-Identifier: MIT
// How the refcount structures themselves grow and reach the file.
#include <algorithm>

#include "refcounts.hpp"

namespace vbdkit::qcow {

Status make_counted_space(const File &file, Header &header, std::unique_ptr<Space> *space, vbd_error *err) {
  auto made = std::make_unique<CountedSpace>(file, header);
  if (const Status s = made->load(err); s != VBD_OK) return s;
  *space = std::move(made);
  return VBD_OK;
}

Status CountedSpace::add_block(uint64_t index, uint64_t at, vbd_error *err) {
  const uint64_t offset = at << header_.cluster_bits;
  const bool fresh = offset >= file_end_;
  if (const Status s = grow_file(offset + header_.cluster_size(), err); s != VBD_OK) return s;
  if (!fresh) {
    if (const Status s = file_.zero(offset, header_.cluster_size(), err); s != VBD_OK) return s;
  }
  blocks_.forget(offset, header_.cluster_size());
  table_[index] = offset;
  new_blocks_.push_back(index);
  return set_counts(at, 1, 1, err);
}

Status CountedSpace::write_back(vbd_error *err) {
  if (const Status s = blocks_.write_dirty(err); s != VBD_OK) return s;
  if (new_blocks_.empty()) return VBD_OK;
  // A block must be whole before the table knows it.
  if (const Status s = file_.sync(err); s != VBD_OK) return s;
  for (const uint64_t index : new_blocks_) {
    unsigned char raw[8];
    store_be(raw, table_[index]);
    if (const Status s = file_.write(raw, sizeof raw, header_.refcount_table_offset + index * 8, err);
        s != VBD_OK)
      return s;
  }
  new_blocks_.clear();
  return VBD_OK;
}

/// So many clusters in one piece at the end of the file, `*begin` on, with blocks that count them; the blocks
/// that had to be made lie before. Nothing is set in the counts yet but the new blocks.
Status CountedSpace::cover(uint64_t first, uint64_t clusters, uint64_t *begin, vbd_error *err) {
  std::vector<uint64_t> missing;
  for (;;) {
    const uint64_t end = first + missing.size() + clusters;
    if (const Status s = check_limit(end, err); s != VBD_OK) return s;
    const uint64_t blocks = units_of(end, per_block_);
    if (blocks > table_.size()) {
      const uint64_t table_end = units_of(file_end_, header_.cluster_size());
      if (const Status s = grow_table(blocks, err); s != VBD_OK) return s;
      if (units_of(file_end_, header_.cluster_size()) != table_end) {  // the table took the place
        first = units_of(file_end_, header_.cluster_size());
        missing.clear();
        continue;
      }
    }
    std::vector<uint64_t> now;
    for (uint64_t b = first / per_block_; b < blocks; ++b) {
      if (table_[b] == 0) now.push_back(b);
    }
    if (now.size() == missing.size()) break;
    missing = std::move(now);
  }
  // Blocks first, each counted once all are known.
  for (uint64_t i = 0; i < missing.size(); ++i) {
    const uint64_t offset = (first + i) << header_.cluster_bits;
    if (const Status s = grow_file(offset + header_.cluster_size(), err); s != VBD_OK) return s;
    blocks_.forget(offset, header_.cluster_size());
    table_[missing[i]] = offset;
    new_blocks_.push_back(missing[i]);
  }
  *begin = first + missing.size();
  return set_counts(first, missing.size(), 1, err);
}

Status CountedSpace::allocate_table(uint64_t bytes, Run *run, vbd_error *err) {
  const uint64_t clusters = units_of(bytes, header_.cluster_size());
  if (clusters == 1) return allocate(1, run, err);
  uint64_t begin = 0;
  // Nothing beyond the end of the file is referenced.
  if (const Status s = cover(units_of(file_end_, header_.cluster_size()), clusters, &begin, err); s != VBD_OK)
    return s;
  if (const Status s = grow_file((begin + clusters) << header_.cluster_bits, err); s != VBD_OK) return s;
  if (const Status s = set_counts(begin, clusters, 1, err); s != VBD_OK) return s;
  *run = {begin << header_.cluster_bits, clusters, true};
  return VBD_OK;
}

Status CountedSpace::write_new_table(uint64_t at, const std::vector<uint64_t> &table, vbd_error *err) {
  std::vector<uint64_t> raw(table);
  for (uint64_t &entry : raw) entry = swap_if_little(entry);
  if (const Status s = file_.write(raw.data(), raw.size() * 8, at, err); s != VBD_OK) return s;
  if (const Status s = file_.sync(err); s != VBD_OK) return s;
  unsigned char place[12];  // bytes 48 to 59 of the header, in one sector
  store_be<uint64_t>(place, at);
  store_be<uint32_t>(place + 8, static_cast<uint32_t>(table.size() * 8 / header_.cluster_size()));
  if (const Status s = file_.write(place, sizeof place, 48, err); s != VBD_OK) return s;
  return file_.sync(err);
}

/// A larger table at the end of the file, with the blocks that count it, at the first clusters that the old
/// table could not reach. The switch is the one write to the header.
Status CountedSpace::grow_table(uint64_t blocks, vbd_error *err) {
  const uint64_t entries_per_cluster = header_.cluster_size() / 8;
  const uint64_t first =
      std::max<uint64_t>(table_.size() * per_block_, units_of(file_end_, header_.cluster_size()));
  uint64_t new_blocks = 1, table_clusters = 1, entries = 0;
  for (;;) {
    const uint64_t end = first + new_blocks + table_clusters;
    const uint64_t last_block = units_of(end, per_block_);
    entries = std::max({blocks, last_block, table_.size() + table_.size() / 2});
    entries = std::min(entries, std::max({kMaxRefcountTable / 8, entries_per_cluster, last_block, blocks}));
    const uint64_t t = units_of(entries, entries_per_cluster);
    const uint64_t n = last_block - first / per_block_;
    if (t <= table_clusters && n <= new_blocks) break;
    table_clusters = std::max(t, table_clusters);
    new_blocks = std::max(n, new_blocks);
  }
  const uint64_t end = first + new_blocks + table_clusters;
  if (const Status s = check_limit(end, err); s != VBD_OK) return s;
  if (const Status s = write_back(err); s != VBD_OK) return s;
  if (const Status s = grow_file(end << header_.cluster_bits, err); s != VBD_OK) return s;
  std::vector<uint64_t> table(table_);
  table.resize(table_clusters * entries_per_cluster);
  std::swap(table_, table);
  uint64_t used = 0;
  for (uint64_t b = first / per_block_; b * per_block_ < end; ++b) {
    if (table_[b] == 0) table_[b] = (first + used++) << header_.cluster_bits;
  }
  // Room for blocks that was not needed stays free.
  if (const Status s = set_counts(first, used, 1, err); s != VBD_OK) return s;
  if (const Status s = set_counts(first + new_blocks, table_clusters, 1, err); s != VBD_OK) return s;
  if (const Status s = blocks_.write_dirty(err); s != VBD_OK) return s;
  const uint64_t at = (first + new_blocks) << header_.cluster_bits;
  if (const Status s = write_new_table(at, table_, err); s != VBD_OK) return s;
  const uint64_t old = header_.refcount_table_offset;
  const uint64_t old_clusters = header_.refcount_table_clusters;
  own_header_.refcount_table_offset = at;
  own_header_.refcount_table_clusters = static_cast<uint32_t>(table_clusters);
  return cancel(old, old_clusters << header_.cluster_bits,
                err);  // the header no longer points there, durably
}

Status CountedSpace::trim(vbd_error *err) {
  uint64_t end = units_of(file_end_, header_.cluster_size());
  const uint64_t before = end;
  for (uint64_t value = 0; end > 1; --end) {
    if (const Status s = count(end - 1, &value, err); s != VBD_OK) return s;
    if (value != 0) break;
  }
  if (end == before) return VBD_OK;
  if (const Status s = file_.truncate(end << header_.cluster_bits, err); s != VBD_OK) return s;
  file_end_ = end << header_.cluster_bits;
  return VBD_OK;
}

}  // namespace vbdkit::qcow
