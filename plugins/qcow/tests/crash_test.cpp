// SPDX-License-Identifier: MIT
// Power cuts at every change of the file, over every kind of image: at worst leaks.
#include <doctest/doctest.h>

#include "configs.hpp"
#include "sdk/testkit/crash.hpp"
#include "tests/support/skip.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

CrashOptions options_for(const Config &config, uint64_t seed) {
  CrashOptions options;
  options.seed = seed;
  options.bytes = config.bytes;
  options.max_bytes = config.max_bytes;
  options.params = plugin().params(config.params);
  options.steps = 12;
  options.largest = 24u << 10;
  options.flush_one_in = 4;
  options.random_images = 3;
  options.max_images = 120;
  return options;
}

}  // namespace

TEST_CASE("a power cut leaves at worst leaks") {
  const Deadline deadline(seconds_for(6, 0.4));
  const bool soak = seconds_for(0, 1) > 0;
  uint64_t images = 0, cuts = 0, sequences = 0;
  const auto enough = [&] { return deadline.passed() && (!soak || (cuts >= 100000 && sequences >= 1000)); };
  for (uint64_t seed = 1; seed == 1 || !enough(); ++seed) {
    for (const Config &config : configs()) {
      if (seed > 1 && enough()) break;
      CAPTURE(config.name);
      CrashOptions options = options_for(config, seed);
      options.cut_one_in = 1 + seed % 3;
      const TestResult result = crash_test(filetype(), options);
      REQUIRE_MESSAGE(result.passed(), result.failure);
      images += result.images;
      cuts += result.cuts;
      ++sequences;
    }
  }
  MESSAGE(sequences << " sequences, " << cuts << " cuts, " << images << " images");
}

TEST_CASE("qemu-img finds at worst leaks after a power cut") {
  VBD_REQUIRE_OR_SKIP(have("qemu-img"), "qcow.crash.qemu", "qemu-img is not installed");
  const uint64_t wanted = seconds_for(0, 1) > 0 ? 60 : 2;  // of each kind: more than 500 in soak
  uint64_t confirmed = 0;
  for (const Config &config : configs()) {
    const bool v1 = std::string(config.name).starts_with("v1");
    if (v1) continue;  // qemu-img can't check version 1
    CAPTURE(config.name);
    CrashOptions options = options_for(config, 99);
    options.max_images = wanted;
    options.cut_one_in = wanted > 2 ? 1 : 7;
    options.inspect = [&](const SparseBytes &image) {
      ++confirmed;
      return qemu_check(image, v1, true);
    };
    const TestResult result = crash_test(filetype(), options);
    CHECK_MESSAGE(result.passed(), result.failure);
  }
  MESSAGE(confirmed << " images");
  CHECK(confirmed >= (wanted > 2 ? 500 : 20));
}

TEST_CASE("a missing barrier is noticed") {
  // Each sync that does nothing is one barrier less: somewhere in the seeds the test must fail without it.
  for (const uint64_t period : {2u, 3u}) {
    bool noticed = false;
    for (uint64_t seed = 1; seed < 12 && !noticed; ++seed) {
      CrashOptions options = options_for(configs()[2], seed);
      options.ignored_syncs = [period](uint64_t nth, const Operation *) { return nth % period == 0; };
      noticed = !crash_test(filetype(), options).passed();
    }
    CHECK(noticed);
  }
}

TEST_CASE("a full disk or a failing one loses nothing that was flushed") {
  for (const Config &config : configs()) {
    CAPTURE(config.name);
    for (const int error : {ENOSPC, EIO}) {
      const TestResult result = fault_test(filetype(), error, 6, options_for(config, 3));
      CHECK_MESSAGE(result.passed(), result.failure);
    }
  }
}
