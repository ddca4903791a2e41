// SPDX-License-Identifier: MIT
// Tests that any filetype with an image table must pass: random operations against an array in memory, and
// disjoint ranges from several threads. Everything follows from the seed, which each failure names.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "workload.hpp"

namespace vbdkit::testkit {

struct TestResult {
  std::string failure;           ///< "": passed
  std::uint64_t operations = 0;  ///< of the guest
  std::uint64_t cuts = 0;        ///< crash tests: places
  std::uint64_t images = 0;      ///< crash tests: images looked at
  [[nodiscard]] bool passed() const { return failure.empty(); }
};

struct ModelOptions : WorkloadOptions {
  std::uint64_t steps = 1000;
  /// Looks at the closed image with another tool: "" or what is wrong.
  std::function<std::string(const vbd_file *file, const SparseBytes &expected)> inspect;
};

/// Creates an image in the empty file and works on it for `steps` operations.
[[nodiscard]] TestResult model_test(Filetype filetype, const vbd_file *file, const ModelOptions &options);
/// The same in memory.
[[nodiscard]] TestResult model_test(Filetype filetype, std::uint64_t seed, std::uint64_t steps,
                                    ModelOptions options = {});

/// Each thread writes (VBD_IMAGE_PARALLEL_WRITE) and reads (VBD_IMAGE_PARALLEL_READ) its own part of one open
/// image. A filetype that declares neither is used from one thread.
[[nodiscard]] TestResult parallel_test(Filetype filetype, const vbd_file *file, unsigned threads,
                                       const ModelOptions &options);

}  // namespace vbdkit::testkit
