// SPDX-License-Identifier: MIT
#include <algorithm>
#include <vector>

#include "store.hpp"

namespace toy {
namespace {

using vbdkit::fail;

/// Packed bytes, or nothing when they save no sector.
std::vector<unsigned char> pack(const Block &block) {
  std::vector<unsigned char> packed;
  for (std::size_t i = 0; i < block.size();) {
    std::size_t n = 1;
    while (n < 255 && i + n < block.size() && block[i + n] == block[i]) ++n;
    packed.push_back(static_cast<unsigned char>(n));
    packed.push_back(block[i]);
    if (packed.size() > kBlock - kSector) return {};
    i += n;
  }
  return packed;
}

int32_t unpack(const std::vector<unsigned char> &packed, Block &to, vbd_error *err) {
  std::size_t filled = 0;
  for (std::size_t i = 0; i + 1 < packed.size(); i += 2) {
    if (packed[i] > to.size() - filled)
      return fail(err, VBD_E_CORRUPT, "toy.packed", 0, "packed bytes overflow");
    std::fill_n(to.begin() + static_cast<std::ptrdiff_t>(filled), packed[i], packed[i + 1]);
    filled += packed[i];
  }
  if (filled == to.size()) return VBD_OK;
  return fail(err, VBD_E_CORRUPT, "toy.packed", 0, "packed bytes end early");
}

bool all_zero(const Block &block) {
  return std::all_of(block.begin(), block.end(), [](unsigned char byte) { return byte == 0; });
}

}  // namespace

uint64_t Store::inside(uint64_t block) const {
  return std::min(kBlock, size_ - block * kBlock);
}

int32_t Store::read_block(uint64_t block, Block &to, vbd_error *err) const {
  const Entry &entry = entries_[block];
  to.fill(0);
  if (entry.kind == kHole || entry.kind == kZero) return VBD_OK;
  const uint64_t at = uint64_t{entry.place} * kSector;
  if (entry.kind == kVerbatim) {
    // What lies behind the end of the disk may be anything: whoever filled a reserved place left it out.
    return vbdkit::read_exactly(file_, to.data(), inside(block), at, "toy.beyond_eof", err);
  }
  std::vector<unsigned char> packed(entry.length);
  int32_t status = vbdkit::read_exactly(file_, packed.data(), packed.size(), at, "toy.beyond_eof", err);
  if (status == VBD_OK) status = unpack(packed, to, err);
  std::fill(to.begin() + static_cast<std::ptrdiff_t>(inside(block)), to.end(), std::uint8_t{0});
  return status;
}

int32_t Store::write_block(uint64_t block, const Block &from, vbd_error *err) {
  if (all_zero(from)) return zero_block(block, false, err);
  std::vector<unsigned char> packed;
  if ((flags_ & kPack) != 0) packed = pack(from);
  const bool is_packed = !packed.empty();
  const unsigned char *bytes = is_packed ? packed.data() : from.data();
  const uint64_t length = is_packed ? packed.size() : from.size();
  Entry entry{0, static_cast<uint16_t>(length), is_packed ? kPacked : kVerbatim};
  int32_t status = take((length + kSector - 1) / kSector, entry.place, err);
  if (status == VBD_OK)
    status = vbdkit::write_all(file_, bytes, length, uint64_t{entry.place} * kSector, err);
  if (status == VBD_OK) {
    set_entry(block, entry);
  } else if (entry.place != 0) {
    released_.push_back({entry.place, static_cast<uint32_t>((length + kSector - 1) / kSector)});
  }
  return status;
}

int32_t Store::zero_block(uint64_t block, bool keep_space, vbd_error *err) {
  Entry entry{0, 0, kZero};
  if (keep_space) {
    if (const int32_t status = take_place(entry.place, err); status != VBD_OK) return status;
    entry.length = kBlock;
  }
  set_entry(block, entry);
  return VBD_OK;
}

int32_t Store::resize(uint64_t bytes, vbd_error *err) {
  const uint64_t blocks = (bytes + kBlock - 1) / kBlock;
  // A last block that the disk's end cuts gets zeros behind the end before the end moves away.
  if (bytes > size_ && size_ % kBlock != 0) {
    Block last;
    const uint64_t block = entries_.size() - 1;
    int32_t status = read_block(block, last, err);
    if (status == VBD_OK) status = write_block(block, last, err);
    if (status != VBD_OK) return status;
  }
  for (uint64_t i = blocks; i < entries_.size(); ++i) set_entry(i, Entry{});
  entries_.resize(blocks);
  size_ = bytes;
  dirty_ = true;
  return save(err);
}

}  // namespace toy
