// SPDX-License-Identifier: MIT
// The header of a qcow image, versions 1, 2 and 3, checked field by field against the file's size before
// anything else uses it. Numbers and rules: QEMU's docs/interop/qcow2.txt, block/qcow.c, and blktap's
// block-qcow.c for the Xen extension of version 1. Pure data after reading. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "bytes.hpp"
#include "file.hpp"

namespace vbdkit::qcow {

inline constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"
inline constexpr uint64_t kHeaderV1 = 48, kHeaderV2 = 72, kHeaderV3 = 104;
inline constexpr uint32_t kMaxL1Entries = 4u << 20;      // 32 MiB, QEMU's QCOW_MAX_L1_SIZE
inline constexpr uint64_t kMaxRefcountTable = 8u << 20;  // bytes, QCOW_MAX_REFTABLE_SIZE
inline constexpr uint32_t kMaxSnapshots = 65536;
inline constexpr uint64_t kMaxSnapshotTable = 64u << 20;  // bytes
inline constexpr uint64_t kMaxHostOffset = 1ull << 56;    // bits 9..55 of a table entry
inline constexpr uint64_t kMaxVirtualSize = (1ull << 63) - 512;

inline constexpr uint64_t kDirty = 1u << 0, kCorrupt = 1u << 1, kDataFile = 1u << 2,
                          kCompressionType = 1u << 3,
                          kExtendedL2 = 1u << 4;                        // incompatible features
inline constexpr uint64_t kLazyRefcounts = 1u << 0;                     // compatible
inline constexpr uint64_t kBitmapsValid = 1u << 0, kRawData = 1u << 1;  // autoclear

struct Header {
  uint32_t version = 0;
  uint32_t cluster_bits = 0;
  uint32_t l2_bits = 0;  ///< log2 of the entries of an L2 table
  uint64_t size = 0;     ///< virtual, a multiple of 512
  uint64_t l1_offset = 0;
  uint64_t l1_entries = 0;  ///< in the file; version 1: what the size needs
  uint64_t file_size = 0;

  // versions 2 and 3
  uint64_t refcount_table_offset = 0;
  uint32_t refcount_table_clusters = 0;
  uint32_t refcount_order = 4;
  uint32_t snapshot_count = 0;
  uint64_t snapshots_offset = 0;
  uint64_t incompatible = 0, compatible = 0, autoclear = 0;
  uint32_t header_length = 0;
  uint8_t compression = 0;  ///< 0 zlib, 1 zstd
  uint32_t bitmap_count = 0;
  uint64_t bitmaps_offset = 0, bitmaps_size = 0;
  const char *refcounts_broken = nullptr;  ///< reason code; only when reading for check

  std::string backing_name, backing_format, data_name;

  // version 1, blktap's extended header
  bool xen = false;
  bool xen_little_endian = false;  ///< the L1 table is little endian

  [[nodiscard]] uint64_t cluster_size() const noexcept { return 1ull << cluster_bits; }
  [[nodiscard]] bool extended_l2() const noexcept { return (incompatible & kExtendedL2) != 0; }
  [[nodiscard]] bool data_file() const noexcept { return (incompatible & kDataFile) != 0; }
  [[nodiscard]] bool has_backing() const noexcept { return !backing_name.empty(); }
  [[nodiscard]] bool bitmaps_valid() const noexcept { return (autoclear & kBitmapsValid) != 0; }
  [[nodiscard]] uint64_t l2_entry_size() const noexcept { return extended_l2() ? 16 : 8; }
  [[nodiscard]] uint64_t l2_bytes() const noexcept { return l2_entry_size() << l2_bits; }
  [[nodiscard]] uint64_t l2_coverage() const noexcept { return 1ull << (cluster_bits + l2_bits); }
  [[nodiscard]] uint64_t l1_needed() const noexcept { return units_of(size, l2_coverage()); }
  [[nodiscard]] uint32_t refcount_bits() const noexcept { return 1u << refcount_order; }
  [[nodiscard]] uint64_t refcount_max() const noexcept {
    return refcount_order == 6 ? (1ull << 63) - 1 : (1ull << refcount_bits()) - 1;
  }
  /// Bits of the offset in a compressed cluster's descriptor (versions 2 and 3).
  [[nodiscard]] uint32_t packed_shift() const noexcept { return 62 - (cluster_bits - 8); }
};

enum class Purpose {
  use,   ///< every rule holds or the image is refused
  check  ///< a damaged refcount table is left to the checker, see refcounts_broken
};

/// Reads and checks. References are only named (backing_name, data_file()): who uses the image decides.
/// Encryption is VBD_E_REFUSED, an unknown incompatible feature VBD_E_NOTSUP, a broken rule VBD_E_CORRUPT
/// with `qcow.*`.
[[nodiscard]] Status read_header(const File &file, Purpose purpose, Header *header, vbd_error *err);

// Parts of it, by version.
[[nodiscard]] Status read_header_v1(const File &file, const unsigned char *raw, Header *header,
                                    vbd_error *err);
[[nodiscard]] Status read_header_v23(const File &file, const unsigned char *raw, Purpose purpose,
                                     Header *header, vbd_error *err);
/// The header extensions in [header_length, end of the header cluster or backing name).
[[nodiscard]] Status read_extensions(const File &file, uint64_t from, uint64_t end, Header *header,
                                     uint64_t *extensions_end, vbd_error *err);
/// A file name or format inside a header: printable, one line, not empty.
[[nodiscard]] Status read_name(const File &file, uint64_t offset, uint64_t length, const char *reason,
                               std::string *name, vbd_error *err);
/// [offset, offset + length) is in the file; a last cluster that is only partly there is, as in QEMU.
[[nodiscard]] bool inside_file(const Header &header, uint64_t offset, uint64_t length) noexcept;

}  // namespace vbdkit::qcow
