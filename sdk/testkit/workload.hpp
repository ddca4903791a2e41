// SPDX-License-Identifier: MIT
// A random guest: writes, zeroes, reserves and commits, flushes, reopens and resizes an image through its
// filetype while an array in memory (the oracle) says what must be read. The tests in model.hpp and crash.hpp
// are built on it. Functions return "" or what went wrong, in words. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <vbdkit/plugin.h>

#include "plugin.hpp"
#include "random.hpp"
#include "sparse_bytes.hpp"

namespace vbdkit::testkit {

struct WorkloadOptions {
  std::uint64_t seed = 1;
  std::uint64_t bytes = 1u << 20;      ///< virtual size at create
  std::uint64_t max_bytes = 0;         ///< resize up to this; 0: never resize
  std::uint64_t alignment = 512;       ///< of offsets and lengths
  std::uint64_t largest = 128u << 10;  ///< longest write, zero or reserve
  bool zero = true;
  bool reserve = true;            ///< where the filetype offers it
  bool reserve_in_place = false;  ///< flat formats: bytes put into a reserved range are seen at once
  bool reopen = true;
  std::uint64_t flush_one_in = 8;  ///< steps
  Pairs params;                    ///< for create, resize and open
};

class Workload {
 public:
  /// The file must be empty and outlive this.
  Workload(Filetype filetype, const vbd_file *file, WorkloadOptions options);

  /// Called before a change begins, with what the guest must see after it.
  std::function<void(const SparseBytes &after)> on_change;
  /// Called when a flush succeeded, with what is now safe.
  std::function<void(const SparseBytes &content)> on_durable;

  /// Creates the image, syncs the file as a host does, opens it.
  [[nodiscard]] std::string create();
  /// One random operation.
  [[nodiscard]] std::string step();
  /// Reads everything and compares; maps everything and compares the extents with the file's bytes.
  [[nodiscard]] std::string verify();
  /// Flushes and closes.
  [[nodiscard]] std::string finish();
  [[nodiscard]] const SparseBytes &expected() const { return expected_; }
  [[nodiscard]] const std::string &last_step() const { return last_step_; }
  Image &image() { return image_; }

 private:
  struct Range {
    std::uint64_t offset, length;
  };
  Range range(std::uint64_t unit);
  std::vector<unsigned char> pattern(std::uint64_t length);
  void changing(const SparseBytes &after);
  [[nodiscard]] std::string failed(const char *what, std::int32_t status);
  [[nodiscard]] std::string write();
  [[nodiscard]] std::string zero();
  [[nodiscard]] std::string reserve();
  [[nodiscard]] std::string abandon();
  [[nodiscard]] std::string put(const std::vector<vbd_extent> &extents,
                                const std::vector<unsigned char> &bytes, std::uint64_t offset);
  [[nodiscard]] std::string flush();
  [[nodiscard]] std::string reopen();
  [[nodiscard]] std::string resize();
  [[nodiscard]] std::string compare_range(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] std::string open();

  Filetype filetype_;
  const vbd_file *file_;
  WorkloadOptions options_;
  Random random_;
  Image image_;
  SparseBytes expected_;
  std::string last_step_;
};

/// What the guest reads and map says, against the oracle: "" or the first difference.
[[nodiscard]] std::string compare_content(Image &image, const SparseBytes &expected, std::uint64_t offset,
                                          std::uint64_t length);
[[nodiscard]] std::string compare_map(Image &image, const vbd_file *file, const SparseBytes &expected);
/// Runs the check operation: "" when it finds no errors, leaks aside. `must`: VBD_MUST_REPAIR_*.
[[nodiscard]] std::string run_check(Filetype filetype, const vbd_file *file, std::uint32_t must = 0);

}  // namespace vbdkit::testkit
