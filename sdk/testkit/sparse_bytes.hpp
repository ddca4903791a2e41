// SPDX-License-Identifier: MIT
// The bytes of a sparse file in memory: any size up to 2^63 - 1, holes cost nothing, copies share their pages
// until one of them changes, so that thousands of crash images of one file are cheap. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace vbdkit::testkit {

class SparseBytes {
 public:
  static constexpr std::uint64_t kPage = 4096;  ///< holes are multiples of this, as on most filesystems

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Bytes that were cut off read as zero when the size grows again.
  void resize(std::uint64_t bytes);
  /// The number of bytes read: less than `length` only at the end.
  std::uint64_t read(void *to, std::uint64_t length, std::uint64_t offset) const;
  /// Grows when needed.
  void write(const void *from, std::uint64_t length, std::uint64_t offset);
  /// Whole pages become holes, the rest is zeroed; the size stays.
  void punch(std::uint64_t offset, std::uint64_t length);
  /// Holes become stored zeros; grows when needed.
  void allocate(std::uint64_t offset, std::uint64_t length);
  /// How many bytes from `offset` (below the size) are alike, and whether they are a hole.
  [[nodiscard]] std::uint64_t extent(std::uint64_t offset, bool &hole) const;
  /// Bytes that take space.
  [[nodiscard]] std::uint64_t allocated() const { return pages_.size() * kPage; }
  /// All bytes; only for small files.
  [[nodiscard]] std::vector<unsigned char> bytes() const;

  [[nodiscard]] static SparseBytes of(const std::vector<unsigned char> &bytes);
  /// Same size and same content; a hole equals zeros.
  friend bool operator==(const SparseBytes &a, const SparseBytes &b);

 private:
  using Page = std::array<unsigned char, kPage>;
  Page &writable(std::uint64_t index);
  void clear_inside(std::uint64_t offset, std::uint64_t length);

  std::map<std::uint64_t, std::shared_ptr<Page>> pages_;
  std::uint64_t size_ = 0;
};

}  // namespace vbdkit::testkit
