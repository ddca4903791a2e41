// SPDX-License-Identifier: MIT
#include "entries.hpp"

#include <algorithm>

namespace vbdkit::qcow {

namespace {

const char *decode_packed(const Header &h, uint64_t file_size, uint64_t word, Entry *entry) noexcept {
  if (h.version == 1) {
    const uint32_t shift = 63 - h.cluster_bits;
    entry->host = word & ((1ull << shift) - 1);
    entry->packed_bytes = (word >> shift) & (h.cluster_size() - 1);
    if (entry->packed_bytes == 0) return "qcow.packed_length";
    if (!fits(entry->host, entry->packed_bytes, file_size)) return "qcow.packed_beyond_eof";
  } else {
    const uint32_t shift = h.packed_shift();
    entry->host = word & ((1ull << shift) - 1);
    const uint64_t sectors = ((word & ~(kCopied | kPackedFlag)) >> shift) + 1;
    entry->packed_bytes = sectors * 512 - entry->host % 512;
    if (entry->host >= kMaxHostOffset) return "qcow.packed_offset";
    if ((word & kCopied) != 0) return "qcow.packed_copied";
    if (entry->host >= file_size) return "qcow.packed_beyond_eof";
    entry->packed_bytes = std::min(entry->packed_bytes, file_size - entry->host);
  }
  if (entry->host < h.header_length) return "qcow.packed_offset";
  entry->data = all_subclusters(h);
  return nullptr;
}

const char *check_host(const Header &h, uint64_t file_size, uint64_t host) noexcept {
  const uint64_t alignment = h.version == 1 ? 512 : h.cluster_size();
  if (!is_aligned(host, alignment)) return "qcow.data_unaligned";
  if (h.data_file()) return nullptr;  // the image's own size says nothing of the data file
  if (host < (h.version == 1 ? h.header_length : h.cluster_size())) return "qcow.data_in_header";
  return host < file_size ? nullptr : "qcow.data_beyond_eof";
}

const char *decode_extended(const Header &h, uint64_t file_size, uint64_t word, uint64_t bitmap,
                            Entry *entry) noexcept {
  entry->data = static_cast<uint32_t>(bitmap);
  entry->zero = static_cast<uint32_t>(bitmap >> 32);
  if ((entry->data & entry->zero) != 0) return "qcow.subcluster_both";
  if ((word & ~(kCopied | kOffsetMask)) != 0) return "qcow.l2_reserved";
  entry->host = word & kOffsetMask;
  if (entry->host == 0 && entry->data != 0 && !h.data_file()) return "qcow.subcluster_nowhere";
  if (entry->host == 0 && !(h.data_file() && (word & kCopied) != 0)) return nullptr;
  return check_host(h, file_size, entry->host);
}

}  // namespace

const char *decode_entry(const Header &h, uint64_t file_size, uint64_t word, uint64_t bitmap,
                         Entry *entry) noexcept {
  *entry = Entry{};
  const uint64_t packed_flag = h.version == 1 ? kPackedFlagV1 : kPackedFlag;
  if ((word & packed_flag) != 0) {
    if (h.data_file()) return "qcow.data_file_packed";
    if (bitmap != 0) return "qcow.packed_subclusters";
    return decode_packed(h, file_size, word, entry);
  }
  if (h.version == 1) {
    entry->copied = true;  // nothing is ever shared
    entry->host = word;
    if (word == 0) return nullptr;
    entry->data = 1;
    return word >= kMaxVirtualSize ? "qcow.data_beyond_eof" : check_host(h, file_size, word);
  }
  entry->copied = (word & kCopied) != 0;
  if (h.extended_l2()) return decode_extended(h, file_size, word, bitmap, entry);
  entry->host = word & kOffsetMask;
  if ((word & kZeroFlag) != 0 && h.version >= 3) entry->zero = 1;
  const uint64_t reserved = ~(kCopied | kOffsetMask | (h.version >= 3 ? kZeroFlag : 0));
  if ((word & reserved) != 0) return "qcow.l2_reserved";
  // With an external data file offset 0 is the first cluster's place when the entry says that it is stored.
  if (entry->host == 0 && !(h.data_file() && entry->copied)) return nullptr;
  if (entry->zero == 0) entry->data = 1;
  return check_host(h, file_size, entry->host);
}

void encode_entry(const Header &h, const Entry &e, uint64_t *word, uint64_t *bitmap) noexcept {
  *bitmap = 0;
  if (h.version == 1) {
    *word = e.packed() ? kPackedFlagV1 | (e.packed_bytes << (63 - h.cluster_bits)) | e.host : e.host;
    return;
  }
  if (e.packed()) {
    const uint64_t sectors = (e.host + e.packed_bytes - 1) / 512 - e.host / 512;
    *word = kPackedFlag | (sectors << h.packed_shift()) | e.host;
    return;
  }
  *word = e.host | (e.copied && e.stored() ? kCopied : 0);
  if (h.extended_l2()) {
    *bitmap = (uint64_t{e.zero} << 32) | e.data;
  } else if (e.zero != 0) {
    *word |= kZeroFlag;
  }
}

const char *decode_l1(const Header &h, uint64_t file_size, uint64_t word, uint64_t *table) noexcept {
  const bool v1 = h.version == 1;
  *table = v1 ? word : word & kOffsetMask;
  if (!v1 && (word & ~(kCopied | kOffsetMask)) != 0) return "qcow.l1_reserved";
  if (*table == 0) return word == 0 ? nullptr : "qcow.l1_reserved";  // no table, and yet something
  if (!is_aligned(*table, v1 ? 512 : h.cluster_size())) return "qcow.l2_unaligned";
  if (*table < (v1 ? h.header_length : h.cluster_size())) return "qcow.l2_in_header";
  if (*table >= file_size || !fits(*table, h.l2_bytes(), round_up(file_size, h.cluster_size())))
    return "qcow.l2_beyond_eof";
  return nullptr;
}

Entry packed_entry(const Header &h, uint64_t offset, uint64_t bytes) noexcept {
  Entry e;
  e.host = offset;
  e.packed_bytes = bytes;
  e.data = all_subclusters(h);
  return e;
}

}  // namespace vbdkit::qcow
