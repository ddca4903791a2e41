// SPDX-License-Identifier: MIT
// The crash test for any filetype with an image table: a random guest works on a FaultFile, then the power is
// cut at every change of the file, and the states that the cut can leave are opened. Each must open, pass
// check (leaks are allowed), and every guest byte must be the one that was flushed last or one that was being
// written since. Everything follows from the seed, which each failure names. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "fault_file.hpp"
#include "model.hpp"

namespace vbdkit::testkit {

struct CrashOptions : WorkloadOptions {
  std::uint64_t steps = 20;
  std::uint64_t random_images = 4;  ///< random choices for each cut, besides the systematic ones
  std::uint64_t cut_one_in = 1;     ///< look at every nth place only
  std::uint64_t max_images = ~std::uint64_t{0};
  /// Before anything else the check repairs with these bits (VBD_MUST_REPAIR_*), for formats whose crashed
  /// state is a marked dirty one.
  std::uint32_t repair = 0;
  /// One image in so many is opened for writing too, written to, and compared again; 0: none.
  std::uint64_t write_one_in = 4;
  /// Syncs that do nothing, see FaultFile::ignore_syncs: the test must fail then.
  FaultFile::IgnoreSync ignored_syncs;
  /// Looks at an image with another tool: "" or what is wrong.
  std::function<std::string(const SparseBytes &image)> inspect;
};

[[nodiscard]] TestResult crash_test(Filetype filetype, const CrashOptions &options);

/// Like crash_test, but changes of the file fail with `error` (ENOSPC, EIO) from each place on, one run for
/// each of `runs` places; afterwards, with the fault gone, the image must be as after a crash. Nothing of it
/// may be lost that was flushed.
[[nodiscard]] TestResult fault_test(Filetype filetype, int error, std::uint64_t runs,
                                    const CrashOptions &options);

}  // namespace vbdkit::testkit
