// SPDX-License-Identifier: MIT
// Version 1 ("qcow"), QEMU's block/qcow.c, and the extended header that Xen's blktap writes at offset 48.
#include "header.hpp"

namespace vbdkit::qcow {

namespace {

constexpr uint32_t kXenMagic = 0x58454efb;  // "XEN\xfb"
constexpr uint32_t kXenL1BigEndian = 2;     // EXTHDR_L1_BIG_ENDIAN

Status check_numbers(const unsigned char *raw, Header *h, vbd_error *err) {
  h->cluster_bits = raw[32];
  h->l2_bits = raw[33];
  if (h->cluster_bits < 9 || h->cluster_bits > 16)
    return corrupt(err, "qcow.cluster_bits", "cluster_bits is %u, not 9 to 16", h->cluster_bits);
  if (h->l2_bits < 6 || h->l2_bits > 13)
    return corrupt(err, "qcow.l2_bits", "l2_bits is %u, not 6 to 13", h->l2_bits);
  const uint32_t crypt = be32(raw, 36);
  if (crypt == 1) return fail(err, VBD_E_REFUSED, "qcow.encrypted", 0, "the image is encrypted (AES)");
  if (crypt != 0) return corrupt(err, "qcow.crypt_method", "crypt_method is %u", crypt);
  const uint64_t size = be64(raw, 24);
  if (size <= 1 || size > kMaxVirtualSize)
    return corrupt(err, "qcow.size", "the virtual size is %llu", ull(size));
  h->size = size / 512 * 512;  // as QEMU, which counts whole sectors
  return VBD_OK;
}

Status check_l1(Header *h, uint64_t declared_size, vbd_error *err) {
  h->l1_entries = units_of(declared_size, h->l2_coverage());
  if (h->l1_entries > kMaxL1Entries)
    return corrupt(err, "qcow.l1_size", "the virtual size needs %llu L1 entries, at most %u are taken",
                   ull(h->l1_entries), kMaxL1Entries);
  if (h->l1_offset < kHeaderV1 || !is_aligned(h->l1_offset, 8))
    return corrupt(err, "qcow.l1_offset", "the L1 table is at %llu: inside the header or not aligned",
                   ull(h->l1_offset));
  if (!fits(h->l1_offset, h->l1_entries * 8, h->file_size))
    return corrupt(err, "qcow.l1_beyond_eof", "the L1 table ends after the file (%llu bytes)",
                   ull(h->file_size));
  return VBD_OK;
}

Status read_backing(const File &file, const unsigned char *raw, Header *h, vbd_error *err) {
  const uint64_t offset = be64(raw, 8);
  const uint32_t length = be32(raw, 16);
  if (offset == 0) {
    return length == 0 ? VBD_OK
                       : corrupt(err, "qcow.backing_offset", "a backing name's length without its offset");
  }
  if (length == 0 || length > 1023)
    return corrupt(err, "qcow.backing_length", "the backing file's name has %u bytes, not 1 to 1023", length);
  if (offset < kHeaderV1 || !fits(offset, length, h->file_size) ||
      overlaps(offset, length, h->l1_offset, h->l1_entries * 8))
    return corrupt(err, "qcow.backing_offset", "the backing file's name is at %llu", ull(offset));
  return read_name(file, offset, length, "qcow.backing_name", &h->backing_name, err);
}

/// blktap looks at the extension only where it may have written it: no backing file, L1 on a page.
Status read_xen(const File &file, Header *h, vbd_error *err) {
  if (h->has_backing() || !is_aligned(h->l1_offset, 4096) || h->file_size < kHeaderV1 + 16) return VBD_OK;
  unsigned char raw[16];
  if (const Status s = file.read(raw, sizeof raw, kHeaderV1, "qcow.too_short", err); s != VBD_OK) return s;
  if (be32(raw, 0) != kXenMagic) return VBD_OK;
  h->xen = true;
  h->xen_little_endian = (be32(raw, 12) & kXenL1BigEndian) == 0;
  return VBD_OK;
}

}  // namespace

Status read_header_v1(const File &file, const unsigned char *raw, Header *h, vbd_error *err) {
  h->header_length = kHeaderV1;
  h->l1_offset = be64(raw, 40);
  if (const Status s = check_numbers(raw, h, err); s != VBD_OK) return s;
  if (const Status s = check_l1(h, be64(raw, 24), err); s != VBD_OK) return s;
  if (const Status s = read_backing(file, raw, h, err); s != VBD_OK) return s;
  return read_xen(file, h, err);
}

}  // namespace vbdkit::qcow
