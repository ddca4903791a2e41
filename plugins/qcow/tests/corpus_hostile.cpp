// SPDX-License-Identifier: MIT
// The hostile images: one broken rule each. Rules: QEMU's docs/interop/qcow2.txt and block/qcow.c, and what
// QEMU does not enforce but the specification says.
#include "corpus.hpp"

namespace qcow_test {

namespace {

using Edit = std::function<void(SparseBytes &)>;

constexpr int32_t kBad = VBD_E_CORRUPT;

Edit at8(uint64_t offset, unsigned value) {
  return [=](SparseBytes &b) { put8(b, offset, value); };
}
Edit at32(uint64_t offset, uint32_t value) {
  return [=](SparseBytes &b) { put32(b, offset, value); };
}
Edit at64(uint64_t offset, uint64_t value) {
  return [=](SparseBytes &b) { put64(b, offset, value); };
}
Edit cut(uint64_t bytes) {
  return [=](SparseBytes &b) { b.resize(bytes); };
}
/// The nth L1 or L2 entry, or refcount table entry.
Edit l1(uint64_t n, uint64_t value) {
  return [=](SparseBytes &b) { put64(b, Places(b).l1 + n * 8, value); };
}
Edit l2(uint64_t n, uint64_t value) {
  return [=](SparseBytes &b) { put64(b, Places(b).l2 + n * 8, value); };
}
Edit refcounts(uint64_t n, uint64_t value) {
  return [=](SparseBytes &b) { put64(b, Places(b).refcount_table + n * 8, value); };
}
Edit snapshot32(uint64_t offset, uint32_t value) {
  return [=](SparseBytes &b) { put32(b, Places(b).snapshots + offset, value); };
}
Edit backing(uint64_t offset, const std::string &name, uint32_t length) {
  return [=](SparseBytes &b) {
    put64(b, 8, offset);
    put32(b, 16, length);
    if (!name.empty()) b.write(name.data(), name.size(), offset);
  };
}
/// A header extension at 112, the end of our own headers, and the end mark after it.
Edit extension(uint32_t type, uint32_t length, uint32_t claimed) {
  return [=](SparseBytes &b) {
    put32(b, 112, type);
    put32(b, 116, claimed);
    put64(b, 120 + (length + 7) / 8 * 8, 0);
  };
}
Edit both(const Edit &one, const Edit &two) {
  return [=](SparseBytes &b) {
    one(b);
    two(b);
  };
}

std::vector<Hostile> header_v1() {
  const auto bad = [](const char *name, const char *reason, Edit edit) {
    return Hostile{name, "v1", Stage::info, kBad, reason, std::move(edit)};
  };
  return {
      bad("v1 too short", "qcow.too_short", cut(47)),
      bad("v1 size 0", "qcow.size", at64(24, 0)),
      bad("v1 size 1", "qcow.size", at64(24, 1)),
      bad("v1 size max", "qcow.size", at64(24, ~0ull)),
      bad("v1 cluster_bits 8", "qcow.cluster_bits", at8(32, 8)),
      bad("v1 cluster_bits 17", "qcow.cluster_bits", at8(32, 17)),
      bad("v1 cluster_bits 255", "qcow.cluster_bits", at8(32, 255)),
      bad("v1 l2_bits 5", "qcow.l2_bits", at8(33, 5)),
      bad("v1 l2_bits 14", "qcow.l2_bits", at8(33, 14)),
      bad("v1 l2_bits 64", "qcow.l2_bits", at8(33, 64)),
      bad("v1 L1 too large", "qcow.l1_size", at64(24, 1ull << 62)),
      bad("v1 L1 in header", "qcow.l1_offset", at64(40, 40)),
      bad("v1 L1 unaligned", "qcow.l1_offset", at64(40, 51)),
      bad("v1 L1 beyond eof", "qcow.l1_beyond_eof", at64(40, 1ull << 40)),
      bad("v1 L1 wraps", "qcow.l1_beyond_eof", at64(40, ~7ull)),
      bad("v1 crypt 2", "qcow.crypt_method", at32(36, 2)),
      {"v1 AES", "v1", Stage::info, VBD_E_REFUSED, "qcow.encrypted", at32(36, 1)},
      bad("v1 backing too long", "qcow.backing_length", backing(4096, "x", 1024)),
      bad("v1 backing beyond eof", "qcow.backing_offset", backing(1ull << 40, "", 5)),
      bad("v1 backing in header", "qcow.backing_offset", backing(24, "", 5)),
      bad("v1 backing control", "qcow.backing_name", backing(8192, "a\nb", 3)),
      bad("v1 backing no offset", "qcow.backing_offset", at32(16, 4)),
      bad("v1 polyglot MBR", "qcow.polyglot", both(at8(510, 0x55), at8(511, 0xaa))),
      {"v1 backing", "v1", Stage::open, VBD_E_REFERENCE, "qcow.backing_file",
       backing(8192, "/etc/shadow", 11)},
  };
}

std::vector<Hostile> tables_v1() {
  const auto at = [](const char *name, Stage stage, const char *reason, Edit edit, const char *of = "v1") {
    return Hostile{name, of, stage, kBad, reason, std::move(edit)};
  };
  return {
      at("v1 L2 beyond eof", Stage::open, "qcow.l2_beyond_eof", l1(0, 1ull << 40)),
      at("v1 L2 unaligned", Stage::open, "qcow.l2_unaligned", l1(0, 4097)),
      at("v1 L2 in header", Stage::open, "qcow.l2_unaligned", l1(0, 8)),
      at("v1 data beyond eof", Stage::read, "qcow.data_beyond_eof", l2(0, 1ull << 40)),
      at("v1 data unaligned", Stage::read, "qcow.data_unaligned", l2(0, 4096 + 8)),
      at("v1 data is L2", Stage::check, "qcow.overlap", [](SparseBytes &b) { l2(0, Places(b).l2)(b); }),
      at("v1 data is header", Stage::check, "qcow.overlap", [](SparseBytes &b) { l2(0, 512)(b); }),
      at("v1 data shared", Stage::check, "qcow.overlap",
         [](SparseBytes &b) { l2(0, get64(b, Places(b).l2 + 8))(b); }),
      at("v1 packed length 0", Stage::read, "qcow.packed_length", l2(0, (1ull << 63) | 4096)),
      at("v1 packed beyond eof", Stage::read, "qcow.packed_beyond_eof",
         l2(0, (1ull << 63) | (100ull << 51) | (1ull << 40))),
      at("v1 packed garbage", Stage::read, "qcow.packed_garbage",
         l2(0, (1ull << 63) | (100ull << 51) | 4096)),
      at("v1 xen L1 read as big endian", Stage::open, "qcow.l2_beyond_eof", at32(60, 2), "v1 xen"),
  };
}

std::vector<Hostile> header_v23() {
  const auto bad = [](const char *name, const char *reason, Edit edit, const char *of = "v3") {
    return Hostile{name, of, Stage::info, kBad, reason, std::move(edit)};
  };
  return {
      bad("no signature", "qcow.magic", at32(0, 0x51464900)),
      {"version 0", "v3", Stage::info, VBD_E_NOTSUP, "qcow.version", at32(4, 0)},
      {"version 4", "v3", Stage::info, VBD_E_NOTSUP, "qcow.version", at32(4, 4)},
      bad("v2 too short", "qcow.too_short", cut(71), "v2"),
      bad("v3 too short", "qcow.too_short", cut(100)),
      bad("cluster_bits 8", "qcow.cluster_bits", at32(20, 8)),
      bad("cluster_bits 22", "qcow.cluster_bits", at32(20, 22)),
      bad("cluster_bits max", "qcow.cluster_bits", at32(20, ~0u)),
      bad("v2 cluster_bits 64", "qcow.cluster_bits", at32(20, 64), "v2"),
      bad("size max", "qcow.size", at64(24, ~0ull)),
      bad("size needs a longer L1", "qcow.l1_size", at64(24, 1ull << 40)),
      bad("L1 size 0", "qcow.l1_size", at32(36, 0)),
      bad("L1 size max", "qcow.l1_size", at32(36, ~0u)),
      bad("L1 in header", "qcow.l1_offset", at64(40, 0)),
      bad("L1 unaligned", "qcow.l1_offset", at64(40, 4096 * 3 + 512)),
      bad("L1 beyond eof", "qcow.l1_beyond_eof", at64(40, 1ull << 40)),
      bad("L1 wraps", "qcow.l1_beyond_eof", at64(40, ~0ull << 12)),
      bad("refcount table at 0", "qcow.refcount_table_offset", at64(48, 0)),
      bad("refcount table unaligned", "qcow.refcount_table_offset", at64(48, 4097)),
      bad("refcount table beyond eof", "qcow.refcount_table_beyond_eof", at64(48, 1ull << 50)),
      bad("refcount table is L1", "qcow.tables_overlap", [](SparseBytes &b) { put64(b, 48, Places(b).l1); }),
      bad("refcount table size 0", "qcow.refcount_table_size", at32(56, 0)),
      bad("refcount table size max", "qcow.refcount_table_size", at32(56, ~0u)),
      bad("65537 snapshots", "qcow.snapshot_count", at32(60, 65537)),
      bad("snapshots max", "qcow.snapshot_count", at32(60, ~0u)),
      bad("snapshots in header", "qcow.snapshots_offset", at32(60, 1)),
      bad("snapshots beyond eof", "qcow.snapshots_beyond_eof", both(at32(60, 1), at64(64, 1ull << 40))),
      bad("snapshots are L1", "qcow.tables_overlap",
          both(at32(60, 1), [](SparseBytes &b) { put64(b, 64, Places(b).l1); })),
      {"incompatible bit 5", "v3", Stage::info, VBD_E_NOTSUP, "qcow.feature_unknown", at64(72, 1u << 5)},
      {"incompatible bit 63", "v3", Stage::info, VBD_E_NOTSUP, "qcow.feature_unknown", at64(72, 1ull << 63)},
      bad("extended L2, small clusters", "qcow.extended_l2", at64(72, 1u << 4)),
      bad("compression bit without type", "qcow.compression_type", at64(72, 1u << 3)),
      bad("compression type without bit", "qcow.compression_type", at8(104, 1)),
      {"compression type 2", "v3", Stage::info, VBD_E_NOTSUP, "qcow.compression_unknown", at8(104, 2)},
      bad("raw data without data file", "qcow.raw_data", at64(88, 2)),
      bad("refcount_order 7", "qcow.refcount_order", at32(96, 7)),
      bad("refcount_order max", "qcow.refcount_order", at32(96, ~0u)),
      bad("header_length 72", "qcow.header_length", at32(100, 72)),
      bad("header_length odd", "qcow.header_length", at32(100, 108)),
      bad("header_length beyond cluster", "qcow.header_length", at32(100, 8192)),
      {"AES", "v3", Stage::info, VBD_E_REFUSED, "qcow.encrypted", at32(32, 1)},
      {"LUKS without header", "v3", Stage::info, VBD_E_REFUSED, "qcow.encrypted", at32(32, 2)},
      {"v2 AES", "v2", Stage::info, VBD_E_REFUSED, "qcow.encrypted", at32(32, 1)},
      bad("crypt 3", "qcow.crypt_method", at32(32, 3)),
      bad("polyglot VDI", "qcow.polyglot", at32(64, 0x7f10dabe)),
      bad("polyglot MBR", "qcow.polyglot", both(at8(510, 0x55), at8(511, 0xaa))),
      bad(
          "polyglot ISO", "qcow.polyglot", [](SparseBytes &b) { b.write("CD001", 5, 32769); }, "v3 64k"),
  };
}

std::vector<Hostile> references() {
  const auto bad = [](const char *name, const char *reason, Edit edit) {
    return Hostile{name, "v3", Stage::info, kBad, reason, std::move(edit)};
  };
  return {
      bad("backing in header", "qcow.backing_offset", backing(8, "", 4)),
      bad("backing beyond cluster", "qcow.backing_offset", backing(5000, "", 4)),
      bad("backing length 0", "qcow.backing_length", backing(512, "", 0)),
      bad("backing length 1024", "qcow.backing_length", backing(512, "", 1024)),
      bad("backing crosses the cluster", "qcow.backing_length", backing(4000, "", 200)),
      bad("backing with NUL", "qcow.backing_name", backing(512, "", 8)),
      bad("backing with newline", "qcow.backing_name", backing(512, "a\nb", 3)),
      bad("extension too long", "qcow.extension_length", extension(0x12345678, 8, 100000)),
      bad("extension length wraps", "qcow.extension_length", extension(0x12345678, 8, ~0u)),
      bad("backing format too long", "qcow.backing_format", extension(0xe2792aca, 16, 16)),
      bad("extension twice", "qcow.extension_duplicate",
          [](SparseBytes &b) {
            put32(b, 112, 0x6803f857);
            put32(b, 116, 0);
            put32(b, 120, 0x6803f857);
            put64(b, 124, 0);
          }),
      bad("LUKS extension", "qcow.luks_extension", extension(0x0537be77, 16, 16)),
      bad("hidden data file", "qcow.data_file_hidden", extension(0x44415441, 8, 8)),
      bad("bitmaps missing", "qcow.bitmaps_missing", at64(88, 1)),
      bad("bitmaps extension short", "qcow.bitmaps_extension",
          both(at64(88, 1), extension(0x23852875, 8, 8))),
      {"backing /etc/shadow", "v3", Stage::open, VBD_E_REFERENCE, "qcow.backing_file",
       backing(512, "/etc/shadow", 11)},
      {"backing json:", "v3", Stage::open, VBD_E_REFERENCE, "qcow.backing_file",
       backing(512, "json:{\"file.filename\":\"/etc/passwd\"}", 36)},
      {"v2 backing nbd", "v2", Stage::open, VBD_E_REFERENCE, "qcow.backing_file",
       backing(512, "nbd://127.0.0.1/", 16)},
      {"data file", "v3", Stage::open, VBD_E_REFERENCE, "qcow.data_file", at64(72, 1u << 2)},
      {"data file and snapshots", "v3", Stage::info, kBad, "qcow.data_file_snapshots",
       both(at64(72, 1u << 2), both(at32(60, 1), at64(64, 4096)))},
  };
}

std::vector<Hostile> tables_v23() {
  const auto at = [](const char *name, Stage stage, const char *reason, Edit edit, const char *of = "v3") {
    return Hostile{name, of, stage, kBad, reason, std::move(edit)};
  };
  const uint64_t copied = 1ull << 63, packed = 1ull << 62;
  return {
      at("L1 reserved bits", Stage::open, "qcow.l1_reserved",
         [](SparseBytes &b) { l1(0, Places(b).l2 | 1)(b); }),
      at("L2 unaligned", Stage::open, "qcow.l2_unaligned", l1(0, copied | 512)),
      at("L2 beyond eof", Stage::open, "qcow.l2_beyond_eof", l1(0, copied | (1ull << 40))),
      at("v2 L2 beyond eof", Stage::open, "qcow.l2_beyond_eof", l1(0, copied | (1ull << 40)), "v2"),
      at("L2 is L1", Stage::check, "qcow.overlap",
         [](SparseBytes &b) { l1(0, (1ull << 63) | Places(b).l1)(b); }),
      at("L2 is the refcount block", Stage::check, "qcow.overlap",
         [](SparseBytes &b) { l1(0, (1ull << 63) | Places(b).refcount_block)(b); }),
      at("L2 reserved bits", Stage::read, "qcow.l2_reserved", l2(0, copied | 4096 * 5 | 2)),
      at("v2 zero flag", Stage::read, "qcow.l2_reserved", l2(0, 1), "v2"),
      at("data unaligned", Stage::read, "qcow.data_unaligned", l2(0, copied | (4096 * 5 + 512))),
      at("data beyond eof", Stage::read, "qcow.data_beyond_eof", l2(0, copied | (1ull << 40))),
      at("data is L1", Stage::check, "qcow.overlap",
         [](SparseBytes &b) { l2(0, (1ull << 63) | Places(b).l1)(b); }),
      at("data is L2", Stage::check, "qcow.overlap",
         [](SparseBytes &b) { l2(0, (1ull << 63) | Places(b).l2)(b); }),
      at("data is the refcount table", Stage::check, "qcow.overlap",
         [](SparseBytes &b) { l2(0, (1ull << 63) | Places(b).refcount_table)(b); }),
      at("data shared but counted once", Stage::check, "qcow.refcount_too_low",
         [](SparseBytes &b) { l2(0, get64(b, Places(b).l2 + 8))(b); }),
      at("data not counted", Stage::check, "qcow.refcount_too_low",
         [](SparseBytes &b) {
           const uint64_t cluster = (get64(b, Places(b).l2) & 0x00fffffffffffe00ull) / 4096;
           put8(b, Places(b).refcount_block + cluster * 2 + 1, 0);
         }),
      at("says shared, is not", Stage::check, "qcow.copied_missing",
         [](SparseBytes &b) { l2(0, get64(b, Places(b).l2) & ~(1ull << 63))(b); }),
      at("refcount block beyond eof", Stage::check, "qcow.refcount_block_offset", refcounts(0, 1ull << 40)),
      at("refcount block unaligned", Stage::check, "qcow.refcount_block_offset", refcounts(0, 4097)),
      at("refcount block missing", Stage::check, "qcow.refcount_too_low", refcounts(0, 0)),
      at("refcount block twice", Stage::check, "qcow.overlap",
         [](SparseBytes &b) { refcounts(1, Places(b).refcount_block)(b); }),
      at("packed beyond eof", Stage::read, "qcow.packed_beyond_eof", l2(0, packed | (1ull << 40)), "v3 zlib"),
      at(
          "packed says unshared", Stage::read, "qcow.packed_copied",
          [](SparseBytes &b) { l2(0, get64(b, Places(b).l2) | (1ull << 63))(b); }, "v3 zlib"),
      at("packed in header", Stage::read, "qcow.packed_offset", l2(0, packed | 8), "v3 zlib"),
      at("packed garbage", Stage::read, "qcow.packed_garbage", l2(0, packed | 4096), "v3 zlib"),
      at("packed zstd garbage", Stage::read, "qcow.packed_garbage", l2(0, packed | 4096), "v3 zstd"),
      at(
          "packed is L1", Stage::check, "qcow.overlap",
          [](SparseBytes &b) { l2(0, (1ull << 62) | Places(b).l1)(b); }, "v3 zlib"),
      at("subcluster both", Stage::read, "qcow.subcluster_both", l2(1, 0x0000000100000001ull), "v3 extended"),
      at("subcluster nowhere", Stage::read, "qcow.subcluster_nowhere", both(l2(0, 0), l2(1, 1)),
         "v3 extended"),
      at("extended with zero flag", Stage::read, "qcow.l2_reserved", l2(0, 1), "v3 extended"),
      at("packed with subclusters", Stage::read, "qcow.packed_subclusters",
         both(l2(0, packed | 65536), l2(1, 1)), "v3 extended"),
  };
}

std::vector<Hostile> snapshots() {
  const auto at = [](const char *name, Stage stage, const char *reason, Edit edit,
                     const char *of = "v3 snapshot") {
    return Hostile{name, of, stage, kBad, reason, std::move(edit)};
  };
  return {
      at("snapshot L1 unaligned", Stage::info, "qcow.snapshot_l1_offset", snapshot32(4, 513)),
      at("snapshot L1 beyond eof", Stage::info, "qcow.snapshot_l1_beyond_eof", snapshot32(0, 1)),
      at("snapshot L1 size", Stage::info, "qcow.snapshot_l1_size", snapshot32(8, ~0u)),
      at("snapshot extra", Stage::info, "qcow.snapshot_extra", snapshot32(36, 2000)),
      at("snapshot extra missing", Stage::info, "qcow.snapshot_extra", snapshot32(36, 0)),
      at("snapshot name beyond eof", Stage::info, "qcow.snapshots_beyond_eof", snapshot32(12, ~0u)),
      at("snapshot L1 is the active one", Stage::check, "qcow.tables_overlap",
         [](SparseBytes &b) { put64(b, Places(b).snapshots, Places(b).l1); }),
      at(
          "bitmap directory beyond eof", Stage::info, "qcow.bitmaps_offset",
          [](SparseBytes &b) { put32(b, 136, 1); }, "v3 bitmap"),
  };
}

}  // namespace

const std::vector<Hostile> &hostile_images() {
  static const std::vector<Hostile> list = [] {
    std::vector<Hostile> all;
    for (auto part : {header_v1(), tables_v1(), header_v23(), references(), tables_v23(), snapshots()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return list;
}

}  // namespace qcow_test
