// SPDX-License-Identifier: MIT
#include "bitmaps.hpp"

namespace vbdkit::qcow {

namespace {

constexpr uint64_t kFixed = 24;
constexpr uint32_t kMaxTableEntries = 0x8000000;

Status check_one(const Header &h, const Bitmap &b, const unsigned char *raw, vbd_error *err) {
  const unsigned type = raw[16], granularity = raw[17];
  const uint32_t name = load_be<uint16_t>(raw + 18);
  if (type != 1 || granularity < 9 || granularity > 31 || name == 0 || name > 1023 || (b.flags & ~7u) != 0)
    return corrupt(err, "qcow.bitmap_entry", "the bitmap at %llu of the file has numbers out of range",
                   ull(b.entry_offset));
  if (b.table_bytes / 8 > kMaxTableEntries)
    return corrupt(err, "qcow.bitmap_table_size", "a bitmap's table has %llu bytes", ull(b.table_bytes));
  if (b.table_bytes == 0) return VBD_OK;
  if (b.table_offset < h.cluster_size() || !is_aligned(b.table_offset, h.cluster_size()) ||
      !inside_file(h, b.table_offset, b.table_bytes))
    return corrupt(err, "qcow.bitmap_table_offset", "a bitmap's table is at %llu", ull(b.table_offset));
  return VBD_OK;
}

}  // namespace

Status for_each_bitmap(const File &file, const Header &h, vbd_error *err,
                       const std::function<Status(const Bitmap &)> &each) {
  uint64_t at = h.bitmaps_offset;
  const uint64_t end = h.bitmaps_offset + h.bitmaps_size;
  for (uint32_t i = 0; i < h.bitmap_count; ++i) {
    unsigned char raw[kFixed];
    if (!fits(at, kFixed, end)) return corrupt(err, "qcow.bitmaps_size", "the bitmap directory is too short");
    if (const Status s = file.read(raw, sizeof raw, at, "qcow.bitmaps_beyond_eof", err); s != VBD_OK)
      return s;
    const Bitmap bitmap{at, be64(raw, 0), be32(raw, 8) * 8ull, be32(raw, 12)};
    if (const Status s = check_one(h, bitmap, raw, err); s != VBD_OK) return s;
    if (const Status s = each(bitmap); s != VBD_OK) return s;
    at += round_up(kFixed + be32(raw, 20) + load_be<uint16_t>(raw + 18), 8);
    if (at > end) return corrupt(err, "qcow.bitmaps_size", "the bitmap directory is too short");
  }
  return VBD_OK;
}

Status mark_bitmaps_in_use(const File &file, const Header &h, vbd_error *err) {
  const Status status = for_each_bitmap(file, h, err, [&](const Bitmap &bitmap) {
    if ((bitmap.flags & kBitmapInUse) != 0) return Status{VBD_OK};
    unsigned char raw[4];
    store_be<uint32_t>(raw, bitmap.flags | kBitmapInUse);
    return file.write(raw, sizeof raw, bitmap.entry_offset + 12, err);
  });
  return status == VBD_OK ? file.sync(err) : status;
}

}  // namespace vbdkit::qcow
