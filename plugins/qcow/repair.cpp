// SPDX-License-Identifier: MIT
#include "repair.hpp"

#include <algorithm>
#include <map>

#include "audit.hpp"

namespace vbdkit::qcow {

namespace {

/// Where the blocks of the new set go: `blocks` maps a block's index to its cluster.
struct NewSet {
  std::map<uint64_t, uint64_t> blocks;
  uint64_t begin = 0, table_at = 0, table_clusters = 0;
  [[nodiscard]] uint64_t end() const { return table_at + table_clusters; }
};

Status lay_out(const Header &h, uint64_t per_block, NewSet *set, vbd_error *err) {
  set->begin = units_of(h.file_size, h.cluster_size());
  for (;;) {
    set->table_at = set->begin + set->blocks.size();
    const uint64_t last =
        std::max(set->blocks.empty() ? 0 : set->blocks.rbegin()->first, set->end() / per_block);
    set->table_clusters = units_of((last + 1) * 8, h.cluster_size());
    const std::size_t before = set->blocks.size();
    for (uint64_t b = set->begin / per_block; b <= (set->end() - 1) / per_block; ++b)
      set->blocks.emplace(b, 0);
    if (set->blocks.size() == before && (set->end() - 1) / per_block <= last) break;
  }
  if (set->table_clusters * h.cluster_size() > std::max(kMaxRefcountTable, h.cluster_size()))
    return fail(err, VBD_E_NOTSUP, "qcow.full", 0, "the file is too large for a new refcount table");
  uint64_t at = set->begin;
  for (auto &[index, cluster] : set->blocks) cluster = at++;
  return VBD_OK;
}

/// The counts of one part of the file into their blocks.
Status write_part(const File &file, const Header &h, const Tally &tally, const NewSet &set,
                  uint64_t per_block, vbd_error *err) {
  std::vector<unsigned char> block(h.cluster_size());
  const uint64_t first = tally.first(), end = first + tally.granules();
  for (auto it = set.blocks.lower_bound(first / per_block);
       it != set.blocks.end() && it->first * per_block < end; ++it) {
    const uint64_t base = it->first * per_block;
    if (const Status s = file.read_padded(block.data(), block.size(), it->second << h.cluster_bits, err);
        s != VBD_OK)
      return s;
    for (uint64_t c = std::max(base, first); c < std::min(base + per_block, end); ++c) {
      const uint64_t used = tally.count(c);
      if (used > h.refcount_max())
        return fail(err, VBD_E_NOTSUP, "qcow.refcount_overflow", 0,
                    "cluster %llu has more references than %u bits count", ull(c), h.refcount_bits());
      set_refcount(block.data(), h.refcount_order, c - base, used);
    }
    if (const Status s = file.write(block.data(), block.size(), it->second << h.cluster_bits, err);
        s != VBD_OK)
      return s;
  }
  return VBD_OK;
}

Status write_table(const File &file, const Header &h, const NewSet &set, uint64_t per_block, vbd_error *err) {
  std::vector<unsigned char> block(h.cluster_size());
  for (auto it = set.blocks.lower_bound(set.begin / per_block); it != set.blocks.end();
       ++it) {  // the set itself
    const uint64_t base = it->first * per_block, at = it->second << h.cluster_bits;
    if (const Status s = file.read_padded(block.data(), block.size(), at, err); s != VBD_OK) return s;
    for (uint64_t c = std::max(base, set.begin); c < std::min(base + per_block, set.end()); ++c)
      set_refcount(block.data(), h.refcount_order, c - base, 1);
    if (const Status s = file.write(block.data(), block.size(), at, err); s != VBD_OK) return s;
  }
  std::vector<unsigned char> table(set.table_clusters << h.cluster_bits);
  for (const auto &[index, cluster] : set.blocks)
    store_be<uint64_t>(table.data() + index * 8, cluster << h.cluster_bits);
  return file.write(table.data(), table.size(), set.table_at << h.cluster_bits, err);
}

}  // namespace

Status rebuild_refcounts(const File &file, Header *h, vbd_error *err) {
  const uint64_t per_block = (h->cluster_size() * 8) >> h->refcount_order;
  NewSet set;
  Report ignored;
  // First which blocks are needed, then their content.
  Audit plan(file, *h, &ignored, nullptr);
  Status status = plan.run(
      [&](const Tally &tally) {
        if (!tally.is_array())
          return fail(err, VBD_E_NOTSUP, "qcow.too_scattered", 0,
                      "the file is too large and empty to count anew");
        for (uint64_t c = tally.first(); c < tally.first() + tally.granules(); ++c) {
          if (tally.count(c) == 0) continue;
          set.blocks.emplace(c / per_block, 0);
          c = (c / per_block + 1) * per_block - 1;
        }
        return Status{VBD_OK};
      },
      err);
  if (status == VBD_OK) status = lay_out(*h, per_block, &set, err);
  if (status == VBD_OK) status = file.truncate(set.end() << h->cluster_bits, err);
  if (status != VBD_OK) return status;
  Audit counts(file, *h, &ignored, nullptr);
  status =
      counts.run([&](const Tally &tally) { return write_part(file, *h, tally, set, per_block, err); }, err);
  if (status == VBD_OK) status = write_table(file, *h, set, per_block, err);
  if (status == VBD_OK) status = file.sync(err);
  if (status != VBD_OK) return status;
  unsigned char place[12];
  store_be<uint64_t>(place, set.table_at << h->cluster_bits);
  store_be<uint32_t>(place + 8, static_cast<uint32_t>(set.table_clusters));
  if (const Status s = file.write(place, sizeof place, 48, err); s != VBD_OK) return s;
  if (const Status s = file.sync(err); s != VBD_OK) return s;
  return read_header(file, Purpose::check, h, err);
}

Status repair_copied(const File &file, Header *h, vbd_error *err) {
  CountedSpace counts(file, *h);
  if (const Status s = counts.load(err); s != VBD_OK) return s;
  const uint64_t entry = h->l2_entry_size();
  /// The table at `offset`, its flags put right; L2 tables below when there are any.
  const auto fix = [&](uint64_t offset, uint64_t bytes, uint64_t step, bool is_l1, auto &&self) -> Status {
    std::vector<unsigned char> raw(std::min<uint64_t>(bytes, 65536));
    for (uint64_t at = 0; at < bytes; at += raw.size()) {
      const uint64_t now = std::min<uint64_t>(raw.size(), bytes - at);
      bool changed = false;
      if (const Status s = file.read_padded(raw.data(), now, offset + at, err); s != VBD_OK) return s;
      for (uint64_t i = 0; i < now; i += step) {
        const uint64_t word = be64(raw.data(), i), host = word & kOffsetMask;
        Entry e;
        uint64_t table = 0;
        const bool good = is_l1 ? decode_l1(*h, h->file_size, word, &table) == nullptr
                                : decode_entry(*h, h->file_size, word,
                                               step == 16 ? be64(raw.data(), i + 8) : 0, &e) == nullptr;
        if (!good || host == 0 || e.packed()) continue;
        uint64_t count = 0;
        if (const Status s = counts.count(host >> h->cluster_bits, &count, err); s != VBD_OK) return s;
        const uint64_t right = count == 1 ? word | kCopied : word & ~kCopied;
        if (right != word) store_be<uint64_t>(raw.data() + i, right);
        changed |= right != word;
        if (is_l1) {
          if (const Status s = self(host, h->l2_bytes(), entry, false, self); s != VBD_OK) return s;
        }
      }
      if (!changed) continue;
      if (const Status s = file.write(raw.data(), now, offset + at, err); s != VBD_OK) return s;
    }
    return VBD_OK;
  };
  if (h->data_file()) return VBD_OK;
  if (const Status s = fix(h->l1_offset, h->l1_entries * 8, 8, true, fix); s != VBD_OK) return s;
  return file.sync(err);
}

Status clear_marks(const File &file, Header *h, vbd_error *err) {
  h->incompatible &= ~(kDirty | kCorrupt);
  unsigned char raw[8];
  store_be<uint64_t>(raw, h->incompatible);
  if (const Status s = file.sync(err); s != VBD_OK) return s;
  if (const Status s = file.write(raw, sizeof raw, 72, err); s != VBD_OK) return s;
  return file.sync(err);
}

}  // namespace vbdkit::qcow
