// SPDX-License-Identifier: MIT
// FT_TOY, the smallest format that has all that makes formats hard: guest bytes that lie elsewhere, packed
// bytes, and metadata that must change in a safe order. It is for tests and for readers, not for guests. One
// thread.
//
// All numbers little endian, places in sectors of 512 bytes. Nothing that a durable header reaches is ever
// overwritten: new data and a new table go to free sectors, and one header of 512 bytes switches to them.
//
//   offset 0     header slot 0    8 "VBDTOY1\0"   8 sequence   8 virtual size   8 table place   8 flags (1:
//   pack) offset 512   header slot 1    8 checksum of the table   8 checksum of the header up to here
//   (FNV-1a, 64 bits) offset 1024  blocks and tables anywhere
//
// The valid header with the higher sequence counts; sequence n lies in slot n % 2. The table has one entry
// for each 4096 guest bytes: 4 place, 2 length in bytes, 1 kind, 1 zero. Kinds: 0 hole; 1 zero, place 0 or
// the reserved 4096 bytes; 2 verbatim, 4096 bytes; 3 packed, pairs of a count (1..255) and a byte.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include <vbdkit/plugin.hpp>

namespace toy {

inline constexpr uint64_t kSector = 512, kBlock = 4096, kFirstSector = 2;
inline constexpr uint64_t kLargest = uint64_t{64} << 30;  // its table is 128 MiB
inline constexpr uint64_t kPack = 1;

enum Kind : uint8_t { kHole = 0, kZero = 1, kVerbatim = 2, kPacked = 3 };
struct Entry {
  uint32_t place = 0;
  uint16_t length = 0;
  Kind kind = kHole;
};
using Block = std::array<unsigned char, kBlock>;

/// The metadata of one image in memory, and the sectors that are in use.
class Store {
 public:
  /// Makes an empty image of the empty file.
  static int32_t create(const vbd_file *file, uint64_t bytes, uint64_t flags, vbd_error *err);
  int32_t load(const vbd_file *file, vbd_error *err);
  /// Makes everything durable, in this order: data and table, barrier, header, barrier.
  int32_t save(vbd_error *err);

  [[nodiscard]] uint64_t size() const { return size_; }
  /// The part of a block that lies within the virtual size.
  [[nodiscard]] uint64_t inside(uint64_t block) const;
  [[nodiscard]] const Entry &entry(uint64_t block) const { return entries_[block]; }
  [[nodiscard]] const vbd_file *file() const { return file_; }
  /// The guest's bytes, zeros beyond the virtual size.
  int32_t read_block(uint64_t block, Block &to, vbd_error *err) const;
  /// Puts the bytes in a new place, packed when that helps and the image says so.
  int32_t write_block(uint64_t block, const Block &from, vbd_error *err);
  int32_t zero_block(uint64_t block, bool keep_space, vbd_error *err);
  /// A free place of 4096 bytes that only this process knows of.
  int32_t take_place(uint32_t &place, vbd_error *err) { return take(kBlock / kSector, place, err); }
  void set_entry(uint64_t block, Entry entry);
  int32_t resize(uint64_t bytes, vbd_error *err);
  /// Bytes at the end of the file that nothing uses.
  int32_t unused_end(uint64_t &bytes, vbd_error *err) const;
  int32_t cut_unused_end(vbd_error *err);

 private:
  struct Header {
    uint64_t sequence = 0, size = 0, table = 0, flags = 0, table_checksum = 0;
  };
  struct Places {
    uint32_t first;
    uint32_t count;
  };
  static std::array<unsigned char, kSector> encode(const Header &header);
  static bool decode(const std::array<unsigned char, kSector> &bytes, Header &header);
  int32_t load_table(const Header &header, uint64_t file_bytes, vbd_error *err);
  int32_t mark(uint64_t first, uint64_t count, uint64_t file_bytes, vbd_error *err);
  int32_t take(uint64_t count, uint32_t &place, vbd_error *err);
  int32_t write_table(Header &header, uint64_t &sectors, vbd_error *err);
  int32_t reach_end(vbd_error *err) const;
  [[nodiscard]] uint64_t end_in_use() const;

  const vbd_file *file_ = nullptr;
  uint64_t size_ = 0, flags_ = 0, sequence_ = 0;
  std::vector<Entry> entries_;
  std::vector<bool> used_;  ///< by sector
  Places table_ = {0, 0};
  std::vector<Places> released_;  ///< free as soon as no durable header reaches them
  bool dirty_ = false;
};

}  // namespace toy
