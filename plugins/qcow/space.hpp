// SPDX-License-Identifier: MIT
// Who owns which bytes of the image file: gives out space and takes it back. References are made durable in
// an order that a crash can only turn into leaks:
//   1. space is given out (counted in memory), the caller writes data into it;
//   2. write_back(): the counts go to the file; after a sync the caller may write entries that point at the
//   space;
//   3. released space is uncounted only after a sync that followed the entry's change (synced()), and only
//   then given
//      out again (reuse_released()).
// For the holder of the image's lock.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "header.hpp"
#include "slices.hpp"

namespace vbdkit::qcow {

/// Contiguous clusters of the file.
struct Run {
  uint64_t offset = 0;
  uint64_t clusters = 0;
  bool fresh = false;  ///< was beyond the end of the file: reads as zeros
};

class Space {
 public:
  virtual ~Space() = default;
  Space(const Space &) = delete;
  Space &operator=(const Space &) = delete;

  /// One to `want` clusters in one piece, referenced once.
  [[nodiscard]] virtual Status allocate(uint64_t want, Run *run, vbd_error *err) = 0;
  /// Exactly so many bytes from a cluster's start on, in one piece: a table.
  [[nodiscard]] virtual Status allocate_table(uint64_t bytes, Run *run, vbd_error *err) = 0;
  /// Room for a compressed cluster; may share file clusters with others.
  [[nodiscard]] virtual Status allocate_packed(uint64_t bytes, uint64_t *offset, vbd_error *err) = 0;
  /// Nothing in the file ever pointed there: free again at once.
  [[nodiscard]] virtual Status cancel(uint64_t offset, uint64_t bytes, vbd_error *err) = 0;
  /// One reference less on each cluster of the range, in the order of step 3. `punch`: give the disk space
  /// back.
  virtual void release(uint64_t offset, uint64_t bytes, bool punch) = 0;
  [[nodiscard]] virtual Status write_back(vbd_error *err) = 0;
  [[nodiscard]] virtual bool dirty() const = 0;
  virtual void synced() = 0;
  [[nodiscard]] virtual Status reuse_released(vbd_error *err) = 0;
  [[nodiscard]] virtual bool has_released() const = 0;
  /// Cuts what is free off the end of the file. Everything must be written and synced.
  [[nodiscard]] virtual Status trim(vbd_error *err) = 0;

  [[nodiscard]] uint64_t file_end() const noexcept { return file_end_; }

 protected:
  Space(const File &file, const Header &header) : file_(file), header_(header), file_end_(header.file_size) {}
  /// The file is at least so long, and reads as zeros where it grew.
  [[nodiscard]] Status grow_file(uint64_t end, vbd_error *err);

  File file_;
  const Header &header_;
  uint64_t file_end_;
};

/// Version 1: no reference counts; everything new comes after the end of the file, nothing is reused.
[[nodiscard]] std::unique_ptr<Space> make_appending_space(const File &file, const Header &header);
/// Versions 2 and 3. The header is changed when the refcount table moves.
[[nodiscard]] Status make_counted_space(const File &file, Header &header, std::unique_ptr<Space> *space,
                                        vbd_error *err);

}  // namespace vbdkit::qcow
