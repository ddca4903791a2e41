// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "sdk/testkit/crash.hpp"
#include "sdk/testkit/fault_file.hpp"
#include "sdk/testkit/files.hpp"
#include "sdk/testkit/model.hpp"

using namespace vbdkit::testkit;

namespace {

Filetype raw() {
  static std::string error;
  static const std::unique_ptr<Plugin> plugin = Plugin::linked(vbd_plugin_v1(), error);
  return plugin->filetype();
}

struct TemporaryFile {
  std::FILE *stream = std::tmpfile();
  TemporaryFile() = default;
  TemporaryFile(const TemporaryFile &) = delete;
  ~TemporaryFile() { std::fclose(stream); }
  [[nodiscard]] int fd() const { return ::fileno(stream); }
};

template <class Options>
Options flat() {
  Options options;
  options.alignment = 1;
  options.reserve_in_place = true;
  return options;
}

SparseBytes patchy() {
  SparseBytes bytes;
  bytes.resize(1u << 20);
  bytes.write("data", 4, 256u << 10);
  return bytes;
}

}  // namespace

TEST_CASE("a random guest reads what it wrote, in memory") {
  auto options = flat<ModelOptions>();
  options.max_bytes = 2u << 20;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const TestResult result = model_test(raw(), seed, 400, options);
    CHECK_MESSAGE(result.passed(), result.failure);
    CHECK(result.operations == 400);
  }
}

TEST_CASE("a random guest reads what it wrote, in a file that can do nothing special") {
  MemoryFile memory;
  memory.set_simple(true);
  const TestResult result = model_test(raw(), memory.file(), flat<ModelOptions>());
  CHECK_MESSAGE(result.passed(), result.failure);
}

TEST_CASE("a random guest reads what it wrote, in a real file") {
  const TemporaryFile temporary;
  FdFile file(temporary.fd(), VBD_FILE_NO_SYNC);
  auto options = flat<ModelOptions>();
  options.steps = 500;
  options.max_bytes = 2u << 20;
  const TestResult result = model_test(raw(), file.file(), options);
  CHECK_MESSAGE(result.passed(), result.failure);
}

TEST_CASE("threads may write and read disjoint ranges at once") {
  CHECK((raw().ops->image->flags & (VBD_IMAGE_PARALLEL_READ | VBD_IMAGE_PARALLEL_WRITE)) ==
        (VBD_IMAGE_PARALLEL_READ | VBD_IMAGE_PARALLEL_WRITE));
  MemoryFile memory;
  auto options = flat<ModelOptions>();
  options.steps = 300;
  const TestResult result = parallel_test(raw(), memory.file(), 4, options);
  CHECK_MESSAGE(result.passed(), result.failure);
}

TEST_CASE("after a power cut at any change, what was flushed is there and nothing else changed") {
  auto options = flat<CrashOptions>();
  options.bytes = 256u << 10;
  options.max_bytes = 512u << 10;
  options.largest = 16u << 10;
  std::uint64_t images = 0;
  for (options.seed = 1; options.seed <= 6; ++options.seed) {
    const TestResult result = crash_test(raw(), options);
    CHECK_MESSAGE(result.passed(), result.failure);
    images += result.images;
  }
  CHECK(images > 1000);
}

TEST_CASE("a flush that does not sync is noticed by the crash test") {
  auto options = flat<CrashOptions>();
  options.bytes = 256u << 10;
  options.ignored_syncs = [](std::uint64_t, const Operation *) { return true; };
  CHECK_FALSE(crash_test(raw(), options).passed());
}

TEST_CASE("after no space or an I/O error, what was flushed is there") {
  auto options = flat<CrashOptions>();
  options.bytes = 256u << 10;
  for (const int error : {ENOSPC, EIO}) {
    const TestResult result = fault_test(raw(), error, 40, options);
    CHECK_MESSAGE(result.passed(), result.failure);
    CHECK(result.cuts > 10);
  }
}

TEST_CASE("map shows holes as holes and data where it lies") {
  const MemoryFile memory(patchy());
  Image image(raw());
  REQUIRE(image.open(memory.file(), VBD_MUST_READONLY) == VBD_OK);
  CHECK(image.virtual_size() == 1u << 20);
  std::vector<vbd_extent> extents;
  REQUIRE(image.map(0, 1u << 20, extents) == VBD_OK);
  REQUIRE(extents.size() == 3);
  CHECK(extents[0].kind == VBD_EXTENT_HOLE);
  CHECK(extents[1].kind == VBD_EXTENT_DATA);
  CHECK(extents[1].offset == 256u << 10);
  CHECK(extents[1].host_offset == 256u << 10);
  CHECK(extents[2].kind == VBD_EXTENT_HOLE);
  REQUIRE(image.map((256u << 10) + 1, 2, extents) == VBD_OK);
  CHECK(extents.size() == 1);
  CHECK(extents[0].length == 2);
  vbd_extent one = {};
  std::uint32_t n = 9;
  ErrorBox error;
  CHECK(image.ops()->map(image.raw(), 0, 1u << 20, &one, 1, &n, error.get()) == VBD_OK);
  CHECK(n == 1);
}

TEST_CASE("a read-only image refuses everything that writes") {
  MemoryFile memory(patchy());
  Image image(raw());
  REQUIRE(image.open(memory.file(), VBD_MUST_READONLY) == VBD_OK);
  std::vector<vbd_extent> extents;
  CHECK(image.write("x", 1, 0) == VBD_E_PERM);
  CHECK(image.zero(0, 1) == VBD_E_PERM);
  CHECK(image.reserve(0, 1, extents) == VBD_E_PERM);
  CHECK(image.commit(0, 1) == VBD_E_PERM);
  CHECK(memory.content() == patchy());
  const MemoryFile fixed(patchy(), VBD_FILE_READONLY);
  REQUIRE(image.open(fixed.file()) == VBD_OK);
  CHECK(image.write("x", 1, 0) == VBD_E_PERM);
}

TEST_CASE("ranges beyond the end are refused") {
  MemoryFile memory(patchy());
  Image image(raw());
  REQUIRE(image.open(memory.file()) == VBD_OK);
  char bytes[8] = "";
  std::vector<vbd_extent> extents;
  CHECK(image.read(bytes, 8, (1u << 20) - 4) == VBD_E_INVAL);
  CHECK(image.error().reason() == "raw.range");
  CHECK(image.read(bytes, 8, ~std::uint64_t{0} - 3) == VBD_E_INVAL);
  CHECK(image.write(bytes, 8, 1u << 20) == VBD_E_INVAL);
  CHECK(image.zero(1u << 20, 1) == VBD_E_INVAL);
  CHECK(image.map(1u << 20, 1, extents) == VBD_E_INVAL);
  CHECK(image.read(bytes, 0, 1u << 20) == VBD_OK);
}

TEST_CASE("zero gives space back or keeps it, as it is told") {
  MemoryFile memory;
  Image image(raw());
  SparseBytes start;
  start.resize(1u << 20);
  start.write(std::string(64u << 10, 'x').data(), 64u << 10, 0);
  memory.set_content(start);
  REQUIRE(image.open(memory.file()) == VBD_OK);
  REQUIRE(image.zero(0, 16u << 10, 0) == VBD_OK);
  CHECK(memory.content().allocated() == 64u << 10);
  REQUIRE(image.zero(0, 16u << 10, VBD_ZERO_MAY_PUNCH) == VBD_OK);
  CHECK(memory.content().allocated() == 48u << 10);
  REQUIRE(image.zero(0, 128u << 10, VBD_ZERO_KEEP_SPACE) == VBD_OK);
  CHECK(memory.content().allocated() == 128u << 10);
  SparseBytes zeros;
  zeros.resize(1u << 20);
  CHECK(memory.content() == zeros);
}

TEST_CASE("a file that is cut while in use is an error, never zeros") {
  MemoryFile memory(patchy());
  Image image(raw());
  REQUIRE(image.open(memory.file()) == VBD_OK);
  SparseBytes shorter = patchy();
  shorter.resize(4096);
  memory.set_content(shorter);
  char bytes[512];
  std::vector<vbd_extent> extents;
  CHECK(image.read(bytes, 512, 8192) != VBD_OK);
  CHECK(image.error().reason() == "raw.file_shrank");
  CHECK(image.map(8192, 512, extents) == VBD_E_IO);
}
