// SPDX-License-Identifier: MIT
// A random guest against an array in memory, over every kind of image; the result is checked by QEMU too.
#include <doctest/doctest.h>

#include "configs.hpp"
#include "sdk/testkit/model.hpp"
#include "tests/support/skip.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

ModelOptions options_for(const Config &config, uint64_t seed) {
  ModelOptions options;
  options.seed = seed;
  options.bytes = config.bytes;
  options.max_bytes = config.max_bytes;
  options.params = plugin().params(config.params);
  options.steps = 150;
  return options;
}

}  // namespace

TEST_CASE("a random guest reads what it wrote") {
  const Deadline deadline(seconds_for(std::getenv("VBD_SANITIZED") != nullptr ? 8 : 20, 1));
  uint64_t runs = 0, operations = 0;
  for (uint64_t seed = 1; seed == 1 || !deadline.passed(); ++seed) {
    for (const Config &config : configs()) {
      CAPTURE(config.name);
      const TestResult result = model_test(filetype(), seed, 150, options_for(config, seed));
      REQUIRE_MESSAGE(result.passed(), result.failure);
      ++runs;
      operations += result.operations;
    }
  }
  MESSAGE(runs << " runs, " << operations << " operations");
}

TEST_CASE("qemu-img finds what the random guest left clean") {
  VBD_REQUIRE_OR_SKIP(have("qemu-img"), "qcow.model.qemu", "qemu-img is not installed");
  for (const Config &config : configs()) {
    CAPTURE(config.name);
    ModelOptions options = options_for(config, 77);
    const bool v1 = std::string(config.name).starts_with("v1");
    options.inspect = [&](const vbd_file *file, const SparseBytes &expected) -> std::string {
      uint64_t size = 0;
      file->get_size(file->ctx, &size);
      std::vector<unsigned char> bytes(size);
      if (file->read(file->ctx, bytes.data(), size, 0) != static_cast<int64_t>(size)) return "not read";
      if (std::string problem = qemu_check(SparseBytes::of(bytes), v1, false); !problem.empty())
        return problem;
      Scratch scratch;
      save(SparseBytes::of(bytes), scratch.path("image"));
      save(expected, scratch.path("raw"));
      const Ran ran = run({"qemu-img", "compare", "-f", v1 ? "qcow" : "qcow2", "-F", "raw",
                           scratch.path("image"), scratch.path("raw")});
      return ran.status == 0 ? "" : ran.out;
    };
    const TestResult result = model_test(filetype(), 77, 150, options);
    CHECK_MESSAGE(result.passed(), result.failure);
  }
}

TEST_CASE("threads that share an image keep their parts") {
  for (const Config &config : configs()) {
    CAPTURE(config.name);
    const MemoryFile file;  // the test creates the image
    ModelOptions options = options_for(config, 5);
    options.bytes = 9u << 20;  // each thread has more than the largest cluster
    const TestResult result = parallel_test(filetype(), file.file(), 4, options);
    CHECK_MESSAGE(result.passed(), result.failure);
    CHECK(run_check(filetype(), file.file()).empty());
  }
}
