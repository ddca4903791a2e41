// SPDX-License-Identifier: MIT
// Versions 2 and 3 ("qcow2"), docs/interop/qcow2.txt, section Header.
#include <algorithm>

#include "header.hpp"

namespace vbdkit::qcow {

namespace {

Status check_features(Header *h, vbd_error *err) {
  const uint64_t unknown =
      h->incompatible & ~(kDirty | kCorrupt | kDataFile | kCompressionType | kExtendedL2);
  if (unknown != 0)
    return fail(err, VBD_E_NOTSUP, "qcow.feature_unknown", 0,
                "incompatible feature bits 0x%llx are not known", ull(unknown));
  if (h->extended_l2() && h->cluster_bits < 14)
    return corrupt(err, "qcow.extended_l2", "extended L2 entries with clusters of %llu bytes",
                   ull(h->cluster_size()));
  if ((h->autoclear & kRawData) != 0 && !h->data_file())
    return corrupt(err, "qcow.raw_data", "the raw data bit without an external data file");
  return VBD_OK;
}

Status read_version3(const unsigned char *raw, Header *h, vbd_error *err) {
  if (h->file_size < kHeaderV3) return corrupt(err, "qcow.too_short", "the file ends inside the header");
  h->incompatible = be64(raw, 72);
  h->compatible = be64(raw, 80);
  h->autoclear = be64(raw, 88);
  h->refcount_order = be32(raw, 96);
  h->header_length = be32(raw, 100);
  if (h->header_length < kHeaderV3 || h->header_length > h->cluster_size() || h->header_length % 8 != 0 ||
      h->header_length > h->file_size)
    return corrupt(err, "qcow.header_length", "the header says that it has %u bytes", h->header_length);
  if (h->refcount_order > 6)
    return corrupt(err, "qcow.refcount_order", "refcount_order is %u", h->refcount_order);
  if (const Status s = check_features(h, err); s != VBD_OK) return s;
  if (h->header_length > kHeaderV3) h->compression = raw[104];
  if (h->compression > 1)
    return fail(err, VBD_E_NOTSUP, "qcow.compression_unknown", 0, "compression type %u is not known",
                h->compression);
  if ((h->compression != 0) != ((h->incompatible & kCompressionType) != 0))
    return corrupt(err, "qcow.compression_type",
                   "compression type %u and its feature bit contradict each other", h->compression);
  return VBD_OK;
}

Status check_encryption(const unsigned char *raw, vbd_error *err) {
  const uint32_t crypt = be32(raw, 32);
  if (crypt == 1 || crypt == 2)
    return fail(err, VBD_E_REFUSED, "qcow.encrypted", 0, "the image is encrypted (%s)",
                crypt == 1 ? "AES" : "LUKS");
  return crypt == 0 ? VBD_OK : corrupt(err, "qcow.crypt_method", "crypt_method is %u", crypt);
}

Status check_l1(const unsigned char *raw, Header *h, vbd_error *err) {
  const uint64_t size = be64(raw, 24);
  if (size > kMaxVirtualSize) return corrupt(err, "qcow.size", "the virtual size is %llu", ull(size));
  h->size = size / 512 * 512;  // as QEMU, which counts whole sectors
  h->l1_entries = be32(raw, 36);
  h->l1_offset = be64(raw, 40);
  if (h->l1_entries > kMaxL1Entries || h->l1_entries < units_of(size, h->l2_coverage()))
    return corrupt(err, "qcow.l1_size",
                   "the L1 table has %llu entries; the virtual size needs %llu, at most %u are taken",
                   ull(h->l1_entries), ull(units_of(size, h->l2_coverage())), kMaxL1Entries);
  if (h->l1_entries == 0) return VBD_OK;
  if (h->l1_offset < h->cluster_size() || !is_aligned(h->l1_offset, h->cluster_size()))
    return corrupt(err, "qcow.l1_offset", "the L1 table is at %llu: in the header or not aligned",
                   ull(h->l1_offset));
  if (!inside_file(*h, h->l1_offset, h->l1_entries * 8))
    return corrupt(err, "qcow.l1_beyond_eof", "the L1 table at %llu ends after the file (%llu bytes)",
                   ull(h->l1_offset), ull(h->file_size));
  return VBD_OK;
}

const char *refcount_table_fault(const Header &h) {
  const uint64_t bytes = uint64_t{h.refcount_table_clusters} << h.cluster_bits;
  if (h.refcount_table_clusters == 0 || bytes > std::max(kMaxRefcountTable, h.cluster_size()))
    return "qcow.refcount_table_size";
  if (h.refcount_table_offset < h.cluster_size() || !is_aligned(h.refcount_table_offset, h.cluster_size()))
    return "qcow.refcount_table_offset";
  if (!inside_file(h, h.refcount_table_offset, bytes)) return "qcow.refcount_table_beyond_eof";
  if (overlaps(h.refcount_table_offset, bytes, h.l1_offset, h.l1_entries * 8)) return "qcow.tables_overlap";
  return nullptr;
}

Status check_refcount_table(const unsigned char *raw, Purpose purpose, Header *h, vbd_error *err) {
  h->refcount_table_offset = be64(raw, 48);
  h->refcount_table_clusters = be32(raw, 56);
  h->refcounts_broken = refcount_table_fault(*h);
  if (h->refcounts_broken == nullptr || purpose == Purpose::check) return VBD_OK;
  return corrupt(err, h->refcounts_broken, "the refcount table: %u clusters at %llu in a file of %llu bytes",
                 h->refcount_table_clusters, ull(h->refcount_table_offset), ull(h->file_size));
}

Status check_snapshots(const unsigned char *raw, Header *h, vbd_error *err) {
  h->snapshot_count = be32(raw, 60);
  h->snapshots_offset = be64(raw, 64);
  if (!is_aligned(h->snapshots_offset, h->cluster_size()))  // QEMU minds it also where there are none
    return corrupt(err, "qcow.snapshots_offset", "the snapshot table is at %llu: not aligned",
                   ull(h->snapshots_offset));
  if (h->snapshot_count == 0) return VBD_OK;
  if (h->snapshot_count > kMaxSnapshots)
    return corrupt(err, "qcow.snapshot_count", "%u snapshots, at most %u are taken", h->snapshot_count,
                   kMaxSnapshots);
  if (h->snapshots_offset < h->cluster_size() || !is_aligned(h->snapshots_offset, h->cluster_size()))
    return corrupt(err, "qcow.snapshots_offset",
                   "the snapshot table is at %llu: in the header or not aligned", ull(h->snapshots_offset));
  const uint64_t least = h->snapshot_count * 40ull;
  if (!inside_file(*h, h->snapshots_offset, least))
    return corrupt(err, "qcow.snapshots_beyond_eof", "the snapshot table ends after the file");
  if (overlaps(h->snapshots_offset, least, h->l1_offset, h->l1_entries * 8))
    return corrupt(err, "qcow.tables_overlap", "the snapshot table overlaps the L1 table");
  if (h->data_file())
    return corrupt(err, "qcow.data_file_snapshots", "snapshots beside an external data file");
  return VBD_OK;
}

Status read_references(const File &file, const unsigned char *raw, Header *h, vbd_error *err) {
  const uint64_t offset = be64(raw, 8);
  const uint32_t length = be32(raw, 16);
  const uint64_t limit = std::min(h->cluster_size(), h->file_size);
  if (offset != 0) {
    if (offset < h->header_length || offset > h->cluster_size())
      return corrupt(err, "qcow.backing_offset", "the backing file's name is at %llu", ull(offset));
    if (length == 0 || length > 1023 || !fits(offset, length, limit))
      return corrupt(err, "qcow.backing_length", "the backing file's name has %u bytes at %llu", length,
                     ull(offset));
    if ((h->autoclear & kRawData) != 0)
      return corrupt(err, "qcow.raw_data", "the raw data bit beside a backing file");
  }
  uint64_t end = 0;
  if (const Status s = read_extensions(file, h->header_length, offset != 0 ? offset : limit, h, &end, err);
      s != VBD_OK)
    return s;
  if (offset == 0) return VBD_OK;
  return read_name(file, offset, length, "qcow.backing_name", &h->backing_name, err);
}

}  // namespace

Status read_header_v23(const File &file, const unsigned char *raw, Purpose purpose, Header *h,
                       vbd_error *err) {
  if (h->file_size < kHeaderV2) return corrupt(err, "qcow.too_short", "the file ends inside the header");
  h->header_length = kHeaderV2;
  h->cluster_bits = be32(raw, 20);
  if (h->cluster_bits < 9 || h->cluster_bits > 21)
    return corrupt(err, "qcow.cluster_bits", "cluster_bits is %u, not 9 to 21", h->cluster_bits);
  if (h->version == 3) {
    if (const Status s = read_version3(raw, h, err); s != VBD_OK) return s;
  }
  h->l2_bits = h->cluster_bits - (h->extended_l2() ? 4 : 3);
  if (const Status s = check_encryption(raw, err); s != VBD_OK) return s;
  if (const Status s = check_l1(raw, h, err); s != VBD_OK) return s;
  if (const Status s = check_refcount_table(raw, purpose, h, err); s != VBD_OK) return s;
  if (const Status s = check_snapshots(raw, h, err); s != VBD_OK) return s;
  return read_references(file, raw, h, err);
}

}  // namespace vbdkit::qcow
