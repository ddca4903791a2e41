// SPDX-License-Identifier: MIT
#include "create.hpp"

#include <algorithm>
#include <vector>

#include "refcount_bits.hpp"

namespace vbdkit::qcow {

namespace {

/// Clusters in file order: header, refcount table, refcount blocks, L1 table.
struct Layout {
  uint64_t table_clusters = 1, blocks = 1, l1_clusters = 1;
  [[nodiscard]] uint64_t l1_at() const { return 1 + table_clusters + blocks; }
  [[nodiscard]] uint64_t total() const { return l1_at() + l1_clusters; }
};

Layout lay_out(uint64_t l1_bytes, const CreateOptions &o) {
  const uint64_t cluster = 1ull << o.cluster_bits;
  const uint64_t per_block = (cluster * 8) >> o.refcount_order;
  Layout layout;
  layout.l1_clusters = std::max<uint64_t>(1, units_of(l1_bytes, cluster));
  for (;;) {  // grows until the blocks count themselves and the table too
    const uint64_t blocks = units_of(layout.total(), per_block);
    const uint64_t table = units_of(blocks * 8, cluster);
    if (blocks == layout.blocks && table == layout.table_clusters) return layout;
    layout.blocks = blocks;
    layout.table_clusters = table;
  }
}

Status check_size(uint64_t bytes, uint64_t coverage, vbd_error *err) {
  if (units_of(bytes, coverage) <= kMaxL1Entries) return VBD_OK;
  return fail(err, VBD_E_INVAL, "qcow.size_for_cluster", 0,
              "with this cluster size a disk has at most %llu bytes: take a larger cluster_size",
              ull(coverage * kMaxL1Entries));
}

Status write_refcounts(const File &file, const Layout &layout, const CreateOptions &o, vbd_error *err) {
  const uint64_t cluster = 1ull << o.cluster_bits;
  std::vector<unsigned char> table(layout.blocks * 8);
  for (uint64_t i = 0; i < layout.blocks; ++i)
    store_be<uint64_t>(table.data() + i * 8, (1 + layout.table_clusters + i) * cluster);
  if (const Status s = file.write(table.data(), table.size(), cluster, err); s != VBD_OK) return s;
  // The blocks follow each other, so their entries do too.
  std::vector<unsigned char> counts(units_of(layout.total() << o.refcount_order, 8));
  for (uint64_t i = 0; i < layout.total(); ++i) set_refcount(counts.data(), o.refcount_order, i, 1);
  return file.write(counts.data(), counts.size(), (1 + layout.table_clusters) * cluster, err);
}

Status write_new_v1(const File &file, uint64_t bytes, const CreateOptions &o, vbd_error *err) {
  const uint32_t l2_bits = std::clamp(o.cluster_bits - 3, 6u, 13u);  // a table fills a cluster
  const uint64_t coverage = 1ull << (o.cluster_bits + l2_bits);
  if (const Status s = check_size(bytes, coverage, err); s != VBD_OK) return s;
  unsigned char raw[kHeaderV1] = {};
  store_be<uint32_t>(raw, kMagic);
  store_be<uint32_t>(raw + 4, 1);
  store_be<uint64_t>(raw + 24, bytes);
  raw[32] = static_cast<unsigned char>(o.cluster_bits);
  raw[33] = static_cast<unsigned char>(l2_bits);
  store_be<uint64_t>(raw + 40, kHeaderV1);
  if (const Status s = file.write(raw, sizeof raw, 0, err); s != VBD_OK) return s;
  return file.truncate(round_up(kHeaderV1 + units_of(bytes, coverage) * 8, 512), err);
}

}  // namespace

Status write_new_image(const File &file, uint64_t bytes, const CreateOptions &o, vbd_error *err) {
  if (o.version == 1) return write_new_v1(file, bytes, o, err);
  const uint32_t l2_bits = o.cluster_bits - (o.extended_l2 ? 4 : 3);
  const uint64_t coverage = 1ull << (o.cluster_bits + l2_bits);
  if (const Status s = check_size(bytes, coverage, err); s != VBD_OK) return s;
  const uint64_t l1_entries = units_of(bytes, coverage);
  const Layout layout = lay_out(l1_entries * 8, o);
  const uint64_t cluster = 1ull << o.cluster_bits;

  unsigned char raw[kHeaderV3 + 16] = {};  // the last 8 bytes: the end of the header extensions
  store_be<uint32_t>(raw, kMagic);
  store_be<uint32_t>(raw + 4, o.version);
  store_be<uint32_t>(raw + 20, o.cluster_bits);
  store_be<uint64_t>(raw + 24, bytes);
  store_be<uint32_t>(raw + 36, static_cast<uint32_t>(l1_entries));
  store_be<uint64_t>(raw + 40, layout.l1_at() * cluster);
  store_be<uint64_t>(raw + 48, cluster);
  store_be<uint32_t>(raw + 56, static_cast<uint32_t>(layout.table_clusters));
  if (o.version == 3) {
    store_be<uint64_t>(raw + 72,
                       (o.compression != 0 ? kCompressionType : 0) | (o.extended_l2 ? kExtendedL2 : 0));
    store_be<uint64_t>(raw + 80, o.lazy_refcounts ? kLazyRefcounts : 0);
    store_be<uint32_t>(raw + 96, o.refcount_order);
    store_be<uint32_t>(raw + 100, kHeaderV3 + 8);
    raw[104] = o.compression;
  }
  if (const Status s = file.write(raw, sizeof raw, 0, err); s != VBD_OK) return s;
  if (const Status s = write_refcounts(file, layout, o, err); s != VBD_OK) return s;
  return file.truncate(layout.total() * cluster, err);
}

}  // namespace vbdkit::qcow
