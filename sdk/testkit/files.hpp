// SPDX-License-Identifier: MIT
// Three vbd_file: in memory, over a descriptor, and one that counts what passes through to another. All of
// them may be used from any thread; none is copyable, because a vbd_file points back to its maker.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <shared_mutex>

#include <vbdkit/plugin.h>

#include "sparse_bytes.hpp"

namespace vbdkit::testkit {

/// The functions of a vbd_file, as words for counting and for faults.
enum class Call : unsigned { read, write, get_size, truncate, allocate, punch, map, sync };
inline constexpr std::size_t kCalls = 8;
[[nodiscard]] const char *name_of(Call call);

/// A file in memory.
class MemoryFile {
 public:
  explicit MemoryFile(SparseBytes start = {}, std::uint32_t flags = 0);
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  [[nodiscard]] const vbd_file *file() const { return &file_; }
  [[nodiscard]] SparseBytes content() const;
  void set_content(SparseBytes content);
  /// A size above gives -EFBIG, as a filesystem does.
  void limit_size(std::uint64_t bytes) { max_size_ = bytes; }
  /// Stored bytes above give -ENOSPC.
  void limit_space(std::uint64_t bytes) { max_space_ = bytes; }
  /// allocate answers -EOPNOTSUPP, map says "data" to the end: a plain filesystem.
  void set_simple(bool simple) { simple_ = simple; }

 private:
  struct Functions;
  mutable std::shared_mutex mutex_;
  SparseBytes content_;
  std::uint64_t max_size_ = 0x7fffffffffffffffu;
  std::uint64_t max_space_ = 0xffffffffffffffffu;
  bool simple_ = false;
  vbd_file file_;
};

/// A real file. Borrows the descriptor, which must outlive this.
class FdFile {
 public:
  explicit FdFile(int fd, std::uint32_t flags = 0);
  FdFile(const FdFile &) = delete;
  FdFile &operator=(const FdFile &) = delete;
  [[nodiscard]] const vbd_file *file() const { return &file_; }

 private:
  int fd_;
  vbd_file file_;
};

/// Counts calls and bytes on the way to another file, which must outlive this.
class CountingFile {
 public:
  struct Count {
    std::uint64_t calls = 0;
    std::uint64_t bytes = 0;  ///< read: bytes delivered; write: bytes taken; allocate, punch: the range
  };
  explicit CountingFile(const vbd_file *under);
  CountingFile(const CountingFile &) = delete;
  CountingFile &operator=(const CountingFile &) = delete;

  [[nodiscard]] const vbd_file *file() const { return &file_; }
  [[nodiscard]] Count count(Call call) const;
  [[nodiscard]] std::uint64_t all_calls() const;
  void reset();

 private:
  struct Functions;
  struct Counter {
    std::atomic<std::uint64_t> calls{0}, bytes{0};
  };
  const vbd_file *under_;
  std::array<Counter, kCalls> counters_;
  vbd_file file_;
};

}  // namespace vbdkit::testkit
