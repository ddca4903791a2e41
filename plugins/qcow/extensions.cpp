// SPDX-License-Identifier: MIT
// Header extensions of versions 2 and 3: type and length (32 bit each), data, padding to 8; type 0 ends them.
#include <algorithm>

#include "header.hpp"

namespace vbdkit::qcow {

namespace {

enum : uint32_t {
  kEnd = 0,
  kBackingFormat = 0xe2792aca,
  kFeatureNames = 0x6803f857,
  kBitmaps = 0x23852875,
  kLuks = 0x0537be77,
  kDataFileName = 0x44415441
};

Status read_bitmaps(const File &file, uint64_t offset, uint32_t length, Header *h, vbd_error *err) {
  unsigned char raw[24];
  if (length != sizeof raw)
    return corrupt(err, "qcow.bitmaps_extension", "the bitmaps extension has %u bytes", length);
  if (!h->bitmaps_valid()) return VBD_OK;  // inconsistent by definition: whoever wrote last did not know them
  if (const Status s = file.read(raw, sizeof raw, offset, "qcow.extension_beyond_eof", err); s != VBD_OK)
    return s;
  h->bitmap_count = be32(raw, 0);
  h->bitmaps_size = be64(raw, 8);
  h->bitmaps_offset = be64(raw, 16);
  if (h->bitmap_count == 0 || h->bitmap_count > 65535 || be32(raw, 4) != 0)
    return corrupt(err, "qcow.bitmaps_count", "the bitmaps extension names %u bitmaps", h->bitmap_count);
  if (h->bitmaps_size < h->bitmap_count * 24ull || h->bitmaps_size > h->bitmap_count * 1024ull * 2)
    return corrupt(err, "qcow.bitmaps_size", "the bitmap directory has %llu bytes", ull(h->bitmaps_size));
  if (h->bitmaps_offset < h->cluster_size() || !is_aligned(h->bitmaps_offset, h->cluster_size()) ||
      !inside_file(*h, h->bitmaps_offset, h->bitmaps_size))
    return corrupt(err, "qcow.bitmaps_offset", "the bitmap directory is at %llu", ull(h->bitmaps_offset));
  return VBD_OK;
}

/// Which bit of the set of known types a type has; 0: not known.
unsigned bit_of(uint32_t type) {
  switch (type) {
    case kBackingFormat:
      return 1;
    case kFeatureNames:
      return 2;
    case kBitmaps:
      return 4;
    case kLuks:
      return 8;
    case kDataFileName:
      return 16;
    default:
      return 0;
  }
}

Status read_one(const File &file, uint32_t type, uint64_t offset, uint32_t length, Header *h,
                vbd_error *err) {
  switch (type) {
    case kBackingFormat:
      if (length == 0) return VBD_OK;
      if (length > 15) return corrupt(err, "qcow.backing_format", "the backing format has %u bytes", length);
      return read_name(file, offset, length, "qcow.backing_format", &h->backing_format, err);
    case kBitmaps:
      return read_bitmaps(file, offset, length, h, err);
    case kLuks:
      return corrupt(err, "qcow.luks_extension", "an encryption header in an image that is not encrypted");
    case kDataFileName:
      if (!h->data_file())
        return corrupt(err, "qcow.data_file_hidden",
                       "names an external data file without saying that it has one");
      if (length > 4095)
        return corrupt(err, "qcow.data_file_name", "the data file's name has %u bytes", length);
      return read_name(file, offset, length, "qcow.data_file_name", &h->data_name, err);
    default:
      return VBD_OK;  // the feature names, and what is not known: kept as it is
  }
}

}  // namespace

Status read_extensions(const File &file, uint64_t from, uint64_t end, Header *h, uint64_t *extensions_end,
                       vbd_error *err) {
  unsigned seen = 0;
  uint64_t at = from;
  while (at + 8 <= end) {
    unsigned char raw[8];
    if (const Status s = file.read(raw, sizeof raw, at, "qcow.extension_beyond_eof", err); s != VBD_OK)
      return s;
    const uint32_t type = be32(raw, 0);
    const uint32_t length = be32(raw, 4);
    at += 8;
    if (!fits(at, length, end))
      return corrupt(err, "qcow.extension_length",
                     "header extension 0x%08x has %u bytes, more than there is room", type, length);
    if (type == kEnd) break;
    if ((seen & bit_of(type)) != 0)
      return corrupt(err, "qcow.extension_duplicate", "header extension 0x%08x comes twice", type);
    seen |= bit_of(type);
    if (const Status s = read_one(file, type, at, length, h, err); s != VBD_OK) return s;
    at += round_up(length, 8);
  }
  if (h->bitmaps_valid() && (seen & bit_of(kBitmaps)) == 0)
    return corrupt(err, "qcow.bitmaps_missing", "says that bitmaps are valid but has none");
  *extensions_end = std::min(at, end);
  return VBD_OK;
}

}  // namespace vbdkit::qcow
