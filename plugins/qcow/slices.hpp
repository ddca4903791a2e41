// SPDX-License-Identifier: MIT
// A write-back cache of pieces ("slices") of tables, by file offset. Changed slices stay until they are
// written, in the order that the owner of the cache wants; clean ones go when there are too many. For the
// holder of the owner's lock.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "file.hpp"

namespace vbdkit::qcow {

class Slices {
 public:
  /// `slice`: a power of two that every table's size is a multiple of.
  Slices(const File &file, uint64_t slice, uint64_t max_bytes);

  [[nodiscard]] uint64_t slice_size() const noexcept { return slice_; }
  /// The bytes at a file offset, to read; valid until the next call.
  [[nodiscard]] Status at(uint64_t offset, const unsigned char **bytes, vbd_error *err);
  /// Likewise to change: it will be written.
  [[nodiscard]] Status change(uint64_t offset, unsigned char **bytes, vbd_error *err);
  [[nodiscard]] uint64_t dirty_bytes() const noexcept { return dirty_ * slice_; }
  /// Writes what was changed, ascending, neighbours in one call.
  [[nodiscard]] Status write_dirty(vbd_error *err);
  /// The range is no table of this cache any more, or its bytes were replaced in the file.
  void forget(uint64_t offset, uint64_t length);

 private:
  struct Slice {
    std::unique_ptr<unsigned char[]> bytes;
    bool dirty = false;
    bool used = false;  // since the hand of the clock passed
  };
  Status load(uint64_t offset, Slice **slice, vbd_error *err);
  void make_room();

  File file_;
  uint64_t slice_, max_slices_;
  uint64_t dirty_ = 0;
  std::unordered_map<uint64_t, Slice> slices_;  // by offset / slice_
  std::vector<uint64_t> clock_;
  std::size_t hand_ = 0;
};

}  // namespace vbdkit::qcow
