// SPDX-License-Identifier: MIT
// copy between filetypes, the toy one included: the guest's bytes stay, zeros are found, a filetype that is
// not parallel is called once at a time.
#include <doctest/doctest.h>

#include "core/image/compare.hpp"
#include "core/image/copy.hpp"
#include "core/image/digest.hpp"
#include "core/image/in_order.hpp"
#include "core/image/tests/content_bench.hpp"
#include "core/sys/tests/recorded_calls.hpp"
#include "tests/support/skip.hpp"

namespace {

using namespace vbd;
using test::constant;
using test::ContentBench;
using test::kFiletypes;
using test::random_content;

Result<void> copy(ContentBench &bench, const image::OpenImage &source, const std::string &name,
                  const char *filetype, bool detect_zeroes, const image::Watch &watch = {}) {
  const image::CopySpec spec{{constant(filetype), {}, 0, false, {}}, detect_zeroes};
  return image::copy(*bench.registry, source, bench.directory.get(), name, bench.image(name), spec, watch);
}

std::string content(const image::OpenImage &image) {
  std::string bytes(image.size(), '?');
  const auto read = image.read(bytes.data(), bytes.size(), 0);
  REQUIRE_MESSAGE(read.ok(), read.error().message());
  return bytes;
}

std::uint64_t allocated(const std::string &path) {
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  return static_cast<std::uint64_t>(st.st_blocks) * 512;
}

}  // namespace

TEST_CASE("copy: every pair of filetypes keeps the guest's bytes") {
  ContentBench bench;
  NEED_BENCH(bench, "image copy");
  const std::string bytes = random_content(21, (std::size_t{5} << 20) + 1536);
  for (const char *source : kFiletypes) {
    bench.make(source, source, bytes);
    const auto from = bench.open(source, source);
    for (const char *target : kFiletypes) {
      for (const bool detect_zeroes : {false, true}) {
        const std::string name = std::string(source) + "-" + target + (detect_zeroes ? "-thin" : "");
        const auto copied = copy(bench, *from, name, target, detect_zeroes);
        REQUIRE_MESSAGE(copied.ok(), name, ": ", copied.error().message());
        CHECK_MESSAGE(content(*bench.open(name, target)) == bytes, name);
      }
    }
  }
}

TEST_CASE("copy: zeros that the source stores are found, in every filetype") {
  ContentBench bench;
  NEED_BENCH(bench, "image copy with --detect-zeroes");
  std::string bytes((std::size_t{8} << 20), '\0');
  bytes.replace(3 << 20, 4096, 4096, 'x');
  test::spill(bench.image("dense"), bytes);
  const auto dense = bench.open("dense", "FT_RAW");
  REQUIRE(allocated(bench.image("dense")) >= bytes.size());
  for (const char *target : kFiletypes) {
    const auto copied = copy(bench, *dense, target, target, true);
    REQUIRE_MESSAGE(copied.ok(), copied.error().message());
    CHECK(content(*bench.open(target, target)) == bytes);
    CHECK_MESSAGE(allocated(bench.image(target)) < (std::uint64_t{1} << 20), target);
  }
}

TEST_CASE("copy: a filetype that is not parallel is called once at a time, one that is by several threads") {
  ContentBench bench;
  NEED_BENCH(bench, "parallel image copy");
  test::spill(bench.image("image"), random_content(22, std::size_t{24} << 20));
  const auto alone = bench.open("image", "FT_ALONE");
  const std::string bytes = content(*alone);
  for (const char *target : kFiletypes) {
    const auto copied = copy(bench, *alone, std::string("of-alone-") + target, target, false);
    REQUIRE_MESSAGE(copied.ok(), copied.error().message());
    CHECK(content(*bench.open(std::string("of-alone-") + target, target)) == bytes);
  }
  VBD_REQUIRE_OR_SKIP(image::all_processors() > 1, "parallel image copy", "needs two processors");
  const auto social = bench.open("image", "FT_SOCIAL");
  // The toy notices two calls at once, and is written by the threads that read from FT_SOCIAL.
  for (const char *target : {"FT_RAW", "FT_TOY"}) {
    const auto copied = copy(bench, *social, std::string("of-social-") + target, target, false);
    REQUIRE_MESSAGE(copied.ok(), copied.error().message());
    CHECK(content(*bench.open(std::string("of-social-") + target, target)) == bytes);
  }
}

TEST_CASE("copy: stopped at any question it leaves nothing, and the source as it was") {
  ContentBench bench;
  NEED_BENCH(bench, "stopped image copy");
  const std::string bytes = random_content(23, std::size_t{6} << 20);
  test::spill(bench.image("raw"), bytes);
  const auto source = bench.open("raw", "FT_RAW");
  for (const char *target : kFiletypes) {
    bool finished = false;
    for (int stop_at = 0; !finished; ++stop_at) {
      std::atomic<int> asked{0};
      const auto copied =
          copy(bench, *source, "copy", target, false, [&](std::uint64_t done, std::uint64_t total) {
            CHECK(done <= total);
            return asked++ == stop_at;
          });
      finished = copied.ok();
      if (finished) break;
      CHECK(copied.error().is(plugin::kCancelled));
      std::size_t files = 0;
      for ([[maybe_unused]] const auto &file : test::fs::directory_iterator(bench.images())) ++files;
      CHECK(files == 1);
      REQUIRE(stop_at < 10000);
    }
    CHECK(content(*bench.open("copy", target)) == bytes);
    test::fs::remove(bench.image("copy"));
  }
  CHECK(test::slurp(bench.image("raw")) == bytes);
}

TEST_CASE("copy: a last part of a unit is kept") {
  ContentBench bench;
  NEED_BENCH(bench, "image copy of odd sizes");
  for (const std::size_t size : {std::size_t{512}, std::size_t{65536 + 512}, (std::size_t{1} << 20) + 1536}) {
    std::string bytes(size, '\0');
    bytes.back() = 'x';
    const std::string odd = "odd" + std::to_string(size);
    test::spill(bench.image(odd), bytes);
    const auto source = bench.open(odd, "FT_RAW");
    for (const char *target : kFiletypes) {
      for (const bool detect_zeroes : {false, true}) {
        const std::string name = odd + target + (detect_zeroes ? "-thin" : "");
        const auto copied = copy(bench, *source, name, target, detect_zeroes);
        REQUIRE_MESSAGE(copied.ok(), name, ": ", copied.error().message());
        CHECK_MESSAGE(content(*bench.open(name, target)) == bytes, name);
      }
    }
  }
}

TEST_CASE("copy: a source that changes its size meanwhile is no copy") {
  ContentBench bench;
  NEED_BENCH(bench, "image copy of a growing source");
  const std::size_t size = (std::size_t{3} << 20) + 512;
  test::spill(bench.image("raw"), random_content(24, size));
  const auto source = bench.open("raw", "FT_RAW");
  const auto grow = [&](std::uint64_t, std::uint64_t) {
    test::fs::resize_file(bench.image("raw"), size + 512);
    return false;
  };
  const auto copied = copy(bench, *source, "copy", "FT_QCOW", false, grow);
  REQUIRE_FALSE(copied.ok());
  CHECK(copied.error().message().find("its size changed while it was copied") != std::string::npos);
  CHECK_FALSE(test::fs::exists(bench.image("copy")));
}

TEST_CASE("copy: what is said to be there is on the disk, the data before the name") {
  ContentBench bench;
  NEED_BENCH(bench, "durable image copy");
  test::spill(bench.image("raw"), random_content(25, (std::size_t{1} << 20) + 512));
  const auto source = bench.open("raw", "FT_RAW");
  for (const char *target : {"FT_RAW", "FT_QCOW"}) {
    image::CopySpec spec{{constant(target), {}, 0, true, {}}, false};
    const sys::test::RecordedCalls calls;
    REQUIRE(
        image::copy(*bench.registry, *source, bench.directory.get(), target, bench.image(target), spec, {})
            .ok());
    const auto seen = calls.seen();
    REQUIRE(seen.size() > 2);
    const std::string name = target;
    CHECK(std::vector<std::string>(seen.end() - 3, seen.end()) ==
          std::vector<std::string>{"fsync .vbd-" + name + ".tmp", "rename .vbd-" + name + ".tmp " + name,
                                   "fsync images/"});
  }
}
