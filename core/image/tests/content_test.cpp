// SPDX-License-Identifier: MIT
// compare, digest and map of the guest's bytes: the same for every filetype, the toy one included; never two
// calls at once to a filetype that is not parallel.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>

#include "core/image/compare.hpp"
#include "core/image/digest.hpp"
#include "core/image/in_order.hpp"
#include "core/image/tests/content_bench.hpp"
#include "tests/support/skip.hpp"

namespace {

using namespace vbd;
using test::constant;
using test::ContentBench;
using test::kFiletypes;
using test::random_content;

/// The definition of docs/digest.md, in the plainest way.
std::string plain_digest(std::string bytes) {
  const std::size_t size = bytes.size();
  std::size_t blocks = 1;
  while (blocks * 65536 < size) blocks *= 2;
  bytes.resize(blocks * 65536);
  std::vector<std::string> level;
  const auto raw = [](const std::string &text) {
    const Sha256 digest = sha256(text.data(), text.size());
    return std::string(digest.begin(), digest.end());
  };
  for (std::size_t i = 0; i < blocks; ++i) level.push_back(raw(bytes.substr(i * 65536, 65536)));
  while (level.size() > 1) {
    std::vector<std::string> above;
    for (std::size_t i = 0; i < level.size(); i += 2) above.push_back(raw(level[i] + level[i + 1]));
    level = std::move(above);
  }
  Sha256 top{};
  std::copy(level[0].begin(), level[0].end(), top.begin());
  const std::string root = "vbdkit.digest/1 " + std::to_string(size) + " 65536 " + hex(top) + "\n";
  return hex(sha256(root.data(), root.size()));
}

}  // namespace

TEST_CASE("content: every filetype has the same digest, and it is the one of the definition") {
  ContentBench bench;
  NEED_BENCH(bench, "image digest");
  for (const std::size_t size : {std::size_t{512}, std::size_t{65536}, std::size_t{65536 + 512},
                                 std::size_t{3} << 20, (std::size_t{5} << 20) + 1536}) {
    const std::string bytes = random_content(size, size);
    const std::string expected = plain_digest(bytes);
    for (const char *filetype : kFiletypes) {
      const std::string name = filetype + std::to_string(size);
      bench.make(name, filetype, bytes);
      const auto image = bench.open(name, filetype);
      std::uint64_t last = 0, listed = 0;
      const auto found =
          image::digest(*image, [&](std::uint64_t number, const Sha256 &digest) -> Result<void> {
            CHECK((listed == 0 || number > last));
            std::string block = bytes.substr(number * 65536, 65536);
            block.resize(65536);
            CHECK(digest == sha256(block.data(), block.size()));
            last = number;
            ++listed;
            return {};
          });
      REQUIRE_MESSAGE(found.ok(), found.error().message());
      CHECK_MESSAGE(hex(found->root) == expected, name);
      CHECK(found->blocks == listed);
    }
  }
}

TEST_CASE("content: every pair of filetypes is compared, and each sector that differs is found") {
  ContentBench bench;
  NEED_BENCH(bench, "image compare");
  const std::string bytes = random_content(7, (std::size_t{3} << 20) + 512);
  std::string other = bytes;
  std::mt19937_64 random(8);
  for (int i = 0; i < 40; ++i) other[random() % other.size()] ^= 1;
  other[other.size() - 1] ^= 1;
  image::Differences expected(bytes.size());
  for (std::size_t at = 0; at < bytes.size(); at += 512) {
    if (bytes.compare(at, 512, other, at, 512) != 0) expected.add({at, 512});
  }
  for (const char *filetype : kFiletypes) {
    bench.make(std::string(filetype) + ".a", filetype, bytes);
    bench.make(std::string(filetype) + ".b", filetype, other);
  }
  for (const char *left : kFiletypes) {
    for (const char *right : kFiletypes) {
      const auto a = bench.open(std::string(left) + ".a", left);
      const auto same = image::compare(*a, *bench.open(std::string(right) + ".a", right));
      REQUIRE_MESSAGE(same.ok(), same.error().message());
      CHECK(same->none());
      const auto found = image::compare(*a, *bench.open(std::string(right) + ".b", right));
      REQUIRE_MESSAGE(found.ok(), found.error().message());
      CHECK(found->first() == expected.first());
      CHECK(found->bytes() == expected.bytes());
      REQUIRE(found->ranges().size() == expected.ranges().size());
      for (std::size_t i = 0; i < found->ranges().size(); ++i) {
        CHECK(found->ranges()[i].offset == expected.ranges()[i].offset);
        CHECK(found->ranges()[i].length == expected.ranges()[i].length);
      }
    }
  }
}

TEST_CASE(
    "content: a filetype that is not parallel is called once at a time, one that is by several threads") {
  ContentBench bench;
  NEED_BENCH(bench, "parallel image calls");
  const std::string bytes = random_content(9, std::size_t{24} << 20);
  for (const char *name : {"one", "two"}) test::spill(bench.image(name), bytes);
  const auto one = bench.open("one", "FT_ALONE");
  const auto compared = image::compare(*one, *bench.open("two", "FT_ALONE"));
  REQUIRE_MESSAGE(compared.ok(), compared.error().message());
  CHECK(compared->none());
  const auto alone = image::digest(*one, {});
  REQUIRE_MESSAGE(alone.ok(), alone.error().message());

  VBD_REQUIRE_OR_SKIP(image::all_processors() > 1, "parallel image calls", "needs two processors");
  const auto social = image::digest(*bench.open("one", "FT_SOCIAL"), {});
  REQUIRE_MESSAGE(social.ok(), social.error().message());
  CHECK(social->root == alone->root);
  const auto both = image::compare(*one, *bench.open("two", "FT_SOCIAL"));
  REQUIRE_MESSAGE(both.ok(), both.error().message());
  CHECK(both->none());
}

TEST_CASE("content: an error in one thread ends the work with it") {
  ContentBench bench;
  NEED_BENCH(bench, "image digest of a file that shrinks");
  const std::string bytes = random_content(10, std::size_t{8} << 20);
  test::spill(bench.image("raw"), bytes);
  const auto image = bench.open("raw", "FT_RAW");
  test::fs::resize_file(bench.image("raw"), 1 << 20);
  const auto found = image::digest(*image, {});
  REQUIRE_FALSE(found.ok());
  CHECK(found.error().id() == "raw.file_shrank");
  std::uint64_t calls = 0;
  const auto stopped =
      image::digest(*bench.open("raw", "FT_RAW"), [&](std::uint64_t, const Sha256 &) -> Result<void> {
        ++calls;
        return Error(plugin::kCancelled, "enough");
      });
  REQUIRE_FALSE(stopped.ok());
  CHECK(stopped.error().is(plugin::kCancelled));
  CHECK(calls == 1);
}

TEST_CASE("content: more ranges than are kept are rounded outwards, and still counted") {
  image::Differences few(1 << 20, 8);
  for (std::uint64_t at = 1024; at < 1024 + 8 * 1024; at += 1024) few.add({at, 512});
  CHECK(few.ranges().size() == 8);
  CHECK(few.granularity() == 512);
  few.add({1 << 19, 512});
  few.add({(1 << 20) - 512, 512});
  CHECK(few.granularity() == 1024);
  CHECK(few.first() == 1024);
  CHECK(few.bytes() == 10 * 512);
  REQUIRE(few.ranges().size() == 3);
  CHECK(few.ranges()[0].offset == 1024);
  CHECK(few.ranges()[0].length == 8192);
  CHECK(few.ranges()[1].offset == 1 << 19);
  CHECK(few.ranges()[1].length == 1024);
  CHECK(few.ranges()[2].offset == (1 << 20) - 1024);
  CHECK(few.ranges()[2].length == 1024);

  // A sector of each 64 KiB of 8 GiB: bounded, and nothing is left out.
  image::Differences many(std::uint64_t{8} << 30);
  std::uint64_t added = 0;
  for (std::uint64_t at = 0; at < std::uint64_t{8} << 30; at += 1 << 16, ++added) many.add({at, 512});
  CHECK(many.bytes() == added * 512);
  CHECK(many.ranges().size() <= 16384);
  std::uint64_t covered = 0;
  for (const auto &range : many.ranges()) covered += range.length;
  CHECK(covered >= many.bytes());
}

TEST_CASE("content: a chain of sixteen images is opened, a longer one is refused") {
  ContentBench bench;
  NEED_BENCH(bench, "long chain");
  VBD_REQUIRE_OR_SKIP(test::fs::exists("/usr/bin/qemu-img"), "long chain", "no qemu-img");
  bench.settings.references = config::ReferencePolicy::below_allowed_dirs;
  for (int i = 1; i <= 17; ++i) {
    std::vector<std::string> words{"/usr/bin/qemu-img", "create", "-q", "-f", "qcow2"};
    if (i > 1) {
      const std::string below = "link" + std::to_string(i - 1);
      words.insert(words.end(), {"-u", "-b", below, "-F", "qcow2"});
    }
    words.insert(words.end(), {bench.image("link" + std::to_string(i)), "66048"});
    REQUIRE(bench.run(words) == 0);
  }
  CHECK(bench.open("link16", "FT_QCOW")->size() == 66048);
  sys::Fd fd(::open(bench.image("link17").c_str(), O_RDONLY | O_CLOEXEC));
  const auto opened = image::OpenImage::open(*bench.registry, bench.settings, test::constant("FT_QCOW"),
                                             std::move(fd), bench.image("link17"));
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().is(image::kReference));
}

TEST_CASE("a size over 2^63 is the image's fault, and no internal error") {
  ContentBench bench;
  NEED_BENCH(bench, "image of 2^63-1 bytes");
  char name[] = "/dev/shm/vbdkit-test.XXXXXX";
  sys::Fd fd(::mkostemp(name, O_CLOEXEC));
  VBD_REQUIRE_OR_SKIP(static_cast<bool>(fd), "image of 2^63-1 bytes", "no /dev/shm");
  ::unlink(name);
  VBD_REQUIRE_OR_SKIP(::ftruncate(fd.get(), INT64_MAX) == 0, "image of 2^63-1 bytes", "no so large files");
  const auto opened =
      image::OpenImage::open(*bench.registry, bench.settings, test::constant("FT_RAW"), std::move(fd), name);
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().is(image::kBadSizeInImage));
  CHECK(opened.error().message().find("9223372036854775807") != std::string::npos);
}
