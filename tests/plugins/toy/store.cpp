// SPDX-License-Identifier: MIT
#include "store.hpp"

#include <algorithm>

namespace toy {
namespace {

using vbdkit::fail;
using vbdkit::fail_errno;

constexpr unsigned char kMagic[8] = {'V', 'B', 'D', 'T', 'O', 'Y', '1', 0};

uint64_t get(const unsigned char *from, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = bytes; i > 0; --i) value = value << 8 | from[i - 1];
  return value;
}

void put(unsigned char *to, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i, value >>= 8) to[i] = static_cast<unsigned char>(value);
}

uint64_t checksum(const unsigned char *bytes, std::size_t n) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t i = 0; i < n; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3u;
  return hash;
}

uint64_t sectors_of(uint64_t bytes) {
  return (bytes + kSector - 1) / kSector;
}
uint64_t blocks_of(uint64_t bytes) {
  return (bytes + kBlock - 1) / kBlock;
}

int32_t sync(const vbd_file *file, vbd_error *err) {
  const int32_t error = file->sync(file->ctx);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "sync");
}

}  // namespace

std::array<unsigned char, kSector> Store::encode(const Header &header) {
  std::array<unsigned char, kSector> bytes{};
  std::copy(std::begin(kMagic), std::end(kMagic), bytes.begin());
  put(&bytes[8], header.sequence, 8);
  put(&bytes[16], header.size, 8);
  put(&bytes[24], header.table, 8);
  put(&bytes[32], header.flags, 8);
  put(&bytes[40], header.table_checksum, 8);
  put(&bytes[48], checksum(bytes.data(), 48), 8);
  return bytes;
}

bool Store::decode(const std::array<unsigned char, kSector> &bytes, Header &header) {
  if (!std::equal(std::begin(kMagic), std::end(kMagic), bytes.begin())) return false;
  if (get(&bytes[48], 8) != checksum(bytes.data(), 48)) return false;
  header = {get(&bytes[8], 8), get(&bytes[16], 8), get(&bytes[24], 8), get(&bytes[32], 8),
            get(&bytes[40], 8)};
  return true;
}

int32_t Store::create(const vbd_file *file, uint64_t bytes, uint64_t flags, vbd_error *err) {
  Store store;
  store.file_ = file;
  store.size_ = bytes;
  store.flags_ = flags;
  store.entries_.resize(blocks_of(bytes));
  store.used_.assign(kFirstSector, true);
  store.dirty_ = true;
  return store.save(err);
}

int32_t Store::load(const vbd_file *file, vbd_error *err) {
  *this = Store();
  file_ = file;
  uint64_t file_bytes = 0;
  if (const int32_t error = file->get_size(file->ctx, &file_bytes); error != 0)
    return fail_errno(err, -error, "size");
  std::array<unsigned char, kSector> bytes{};
  Header best, one;
  for (uint64_t slot = 0; slot < 2; ++slot) {
    const int64_t n = file->read(file->ctx, bytes.data(), bytes.size(), slot * kSector);
    if (n < 0) return fail_errno(err, static_cast<int>(-n), "read");
    if (static_cast<uint64_t>(n) < kSector || !decode(bytes, one)) continue;
    if (one.sequence % 2 == slot && one.sequence > best.sequence) best = one;
  }
  if (best.sequence == 0)
    return fail(err, VBD_E_CORRUPT, "toy.no_header", 0, "neither of the two headers is valid");
  if (best.size == 0 || best.size % kSector != 0 || best.size > kLargest) {
    return fail(err, VBD_E_CORRUPT, "toy.size", 0, "impossible virtual size");
  }
  return load_table(best, file_bytes, err);
}

int32_t Store::load_table(const Header &header, uint64_t file_bytes, vbd_error *err) {
  const uint64_t n = blocks_of(header.size);
  if (header.table > file_bytes / kSector || n * 8 > file_bytes - header.table * kSector) {
    return fail(err, VBD_E_CORRUPT, "toy.table_beyond_eof", 0, "the table lies beyond the end of the file");
  }
  std::vector<unsigned char> bytes(n * 8);
  int32_t status = vbdkit::read_exactly(file_, bytes.data(), bytes.size(), header.table * kSector,
                                        "toy.table_beyond_eof", err);
  if (status != VBD_OK) return status;
  if (checksum(bytes.data(), bytes.size()) != header.table_checksum) {
    return fail(err, VBD_E_CORRUPT, "toy.table_checksum", 0, "the table is damaged");
  }
  used_.assign(sectors_of(file_bytes), false);
  status = mark(0, kFirstSector, file_bytes, err);
  if (status == VBD_OK) status = mark(header.table, sectors_of(n * 8), file_bytes, err);
  entries_.resize(n);
  for (uint64_t i = 0; i < n && status == VBD_OK; ++i) {
    const unsigned char *raw = &bytes[i * 8];
    if (raw[6] > kPacked) return fail(err, VBD_E_CORRUPT, "toy.kind", 0, "a table entry of unknown kind");
    entries_[i] = {static_cast<uint32_t>(get(raw, 4)), static_cast<uint16_t>(get(raw + 4, 2)),
                   static_cast<Kind>(raw[6])};
    if (entries_[i].place != 0)
      status = mark(entries_[i].place, sectors_of(entries_[i].length), file_bytes, err);
  }
  size_ = header.size;
  flags_ = header.flags;
  sequence_ = header.sequence;
  table_ = {static_cast<uint32_t>(header.table), static_cast<uint32_t>(sectors_of(n * 8))};
  return status;
}

int32_t Store::mark(uint64_t first, uint64_t count, uint64_t file_bytes, vbd_error *err) {
  if (first + count > sectors_of(file_bytes)) {
    return fail(err, VBD_E_CORRUPT, "toy.beyond_eof", 0, "a table entry points beyond the end of the file");
  }
  for (uint64_t i = first; i < first + count; ++i) {
    if (used_[i]) return fail(err, VBD_E_CORRUPT, "toy.overlap", 0, "two things claim one sector");
    used_[i] = true;
  }
  return VBD_OK;
}

int32_t Store::take(uint64_t count, uint32_t &place, vbd_error *err) {
  uint64_t run = 0, at = kFirstSector;
  for (; run < count && at < used_.size(); ++at) run = used_[at] ? 0 : run + 1;
  const uint64_t first = at - run;
  if (first + count > 0xffffffffu)
    return fail(err, VBD_E_NOSPC, "toy.full", 0, "no place left in the format");
  if (first + count > used_.size()) used_.resize(first + count, false);
  std::fill_n(used_.begin() + static_cast<std::ptrdiff_t>(first), count, true);
  place = static_cast<uint32_t>(first);
  return VBD_OK;
}

void Store::set_entry(uint64_t block, Entry entry) {
  Entry &there = entries_[block];
  if (there.place != 0) released_.push_back({there.place, static_cast<uint32_t>(sectors_of(there.length))});
  there = entry;
  dirty_ = true;
}

int32_t Store::write_table(Header &header, uint64_t &sectors, vbd_error *err) {
  std::vector<unsigned char> bytes(entries_.size() * 8);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    put(&bytes[i * 8], entries_[i].place, 4);
    put(&bytes[i * 8 + 4], entries_[i].length, 2);
    bytes[i * 8 + 6] = entries_[i].kind;
  }
  sectors = sectors_of(bytes.size());
  uint32_t place = 0;
  if (const int32_t status = take(sectors, place, err); status != VBD_OK) return status;
  header.table = place;
  header.table_checksum = checksum(bytes.data(), bytes.size());
  return vbdkit::write_all(file_, bytes.data(), bytes.size(), uint64_t{place} * kSector, err);
}

uint64_t Store::end_in_use() const {
  uint64_t end = used_.size();
  while (end > 0 && !used_[end - 1]) --end;
  return end * kSector;
}

int32_t Store::reach_end(vbd_error *err) const {
  uint64_t bytes = 0;
  int32_t error = file_->get_size(file_->ctx, &bytes);
  if (error == 0 && bytes < end_in_use()) error = file_->truncate(file_->ctx, end_in_use());
  return error == 0 ? VBD_OK : fail_errno(err, -error, "growing the file");
}

int32_t Store::save(vbd_error *err) {
  if (!dirty_) return sync(file_, err);
  Header header{sequence_ + 1, size_, 0, flags_, 0};
  uint64_t sectors = 0;
  int32_t status = write_table(header, sectors, err);
  if (status == VBD_OK) status = reach_end(err);
  if (status == VBD_OK) status = sync(file_, err);
  if (status != VBD_OK) return status;
  const auto bytes = encode(header);
  status = vbdkit::write_all(file_, bytes.data(), bytes.size(), header.sequence % 2 * kSector, err);
  if (status == VBD_OK) status = sync(file_, err);
  // After a failure either header may be the one that lasts: nothing is released, and the next attempt writes
  // the same slot again.
  if (status != VBD_OK) return status;
  released_.push_back(table_);
  for (const Places &places : released_) {
    std::fill_n(used_.begin() + places.first, places.count, false);
  }
  released_.clear();
  table_ = {static_cast<uint32_t>(header.table), static_cast<uint32_t>(sectors)};
  sequence_ = header.sequence;
  dirty_ = false;
  return VBD_OK;
}

int32_t Store::unused_end(uint64_t &bytes, vbd_error *err) const {
  uint64_t file_bytes = 0;
  const int32_t error = file_->get_size(file_->ctx, &file_bytes);
  bytes = file_bytes > end_in_use() ? file_bytes - end_in_use() : 0;
  return error == 0 ? VBD_OK : fail_errno(err, -error, "size");
}

int32_t Store::cut_unused_end(vbd_error *err) {
  const int32_t error = file_->truncate(file_->ctx, end_in_use());
  return error == 0 ? VBD_OK : fail_errno(err, -error, "cutting the unused end");
}

}  // namespace toy
