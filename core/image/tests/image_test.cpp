// SPDX-License-Identifier: MIT
#include "core/image/image.hpp"

#include <doctest/doctest.h>
#include <sys/mount.h>

#include "core/base/size.hpp"
#include "core/image/tests/bench.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"
#include "tests/support/skip.hpp"

namespace {

using namespace vbd;
using test::constant;

struct ImageBench : test::Bench {
  ImageBench() { directory = sys::Fd(::open(images().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }

  Result<void> create(const std::string &name, std::uint64_t size, plugin::Values options = {},
                      const char *filetype = "FT_RAW") {
    return image::create(*registry, directory.get(), name, image(name),
                         {constant(filetype), std::move(options), size, true, {}});
  }
  Result<void> remove(const std::string &name) {
    return image::remove(*registry, constant("FT_RAW"), directory.get(), name, image(name), false);
  }
  [[nodiscard]] sys::Fd open(const std::string &name, int flags = O_RDONLY) const {
    return sys::Fd(::open(image(name).c_str(), flags | O_CLOEXEC));
  }
  Result<image::ImageInfo> verify(const std::string &name, const char *filetype) {
    const sys::Fd fd = open(name);
    return image::verify_declared(*registry, constant(filetype), fd.get(), image(name));
  }
  sys::Fd directory;
};

}  // namespace

TEST_CASE("image: create makes a sparse image, private, and never replaces") {
  ImageBench bench;
  NEED_BENCH(bench, "image create");
  auto made = bench.create("sda", 5ull << 30);
  REQUIRE_MESSAGE(made.ok(), made.error().message());
  auto info = sys::file_info_at(bench.directory.get(), "sda");
  REQUIRE(info.ok());
  CHECK(info->size == 5ull << 30);
  CHECK(info->allocated == 0);
  CHECK((info->mode & 07777) == 0600);
  const auto again = bench.create("sda", 1 << 20);
  REQUIRE_FALSE(again.ok());
  CHECK(again.error().is(sys::kExists));
  CHECK(again.error().exit() == Exit::busy);
  CHECK(test::Bench::files_below(bench.images()).size() == 1);

  const sys::Fd fd = bench.open("sda");
  const auto read = image::info(*bench.registry, constant("FT_RAW"), fd.get(), bench.image("sda"));
  REQUIRE_MESSAGE(read.ok(), read.error().message());
  CHECK(read->virtual_size == 5ull << 30);
  CHECK(read->properties.at("flat") == "1");
  CHECK(read->references.empty());
}

TEST_CASE("image: sizes and options are refused before anything is written") {
  ImageBench bench;
  NEED_BENCH(bench, "image create refusals");
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{511}, std::uint64_t{1000},
                                   std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    const auto made = bench.create("sda", size);
    REQUIRE_FALSE(made.ok());
    CHECK(made.error().is(kBadSize));
    CHECK(made.error().exit() == Exit::usage);
    CHECK(made.error().message().find(bench.image("sda")) != std::string::npos);
  }
  const auto unknown = bench.create("sda", 1 << 20, {{"sparseness", "7"}});
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().is(plugin::kUnknownOption));
  const auto missing = bench.create("sda", 1 << 20, {}, "FT_NOSUCH");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().is(plugin::kPluginNotFound));
  CHECK(test::Bench::files_below(bench.images()).empty());
}

TEST_CASE("image: what a killed create left is removed by the next one") {
  ImageBench bench;
  NEED_BENCH(bench, "image create after a kill");
  std::string left;
  {
    auto killed = sys::TempFile::create(bench.directory.get(), "sda");
    REQUIRE(killed.ok());
    left = bench.image(killed->temp_name());
  }
  test::spill(left, "half made");  // the destructor, which a kill skips, had removed it
  const auto made = bench.create("sda", 1 << 20);
  REQUIRE_MESSAGE(made.ok(), made.error().message());
  CHECK(test::Bench::files_below(bench.images()) == std::vector<std::string>{bench.image("sda")});
}

TEST_CASE("image: a full filesystem is one clear error and no leftover") {
  ImageBench bench;
  NEED_BENCH(bench, "image create without space");
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "image create without space", "needs root to mount");
  const std::string small = bench.make("small");
  if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=64k,nr_inodes=2") != 0) {
    VBD_REQUIRE_OR_SKIP(false, "image create without space", "tmpfs can't be mounted");
  }
  {
    const sys::Fd directory(::open(small.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    test::spill(small + "/filler", "the last inode");
    const auto made = image::create(*bench.registry, directory.get(), "sda", small + "/sda",
                                    {constant("FT_RAW"), {}, 1 << 20, true, {}});
    REQUIRE_FALSE(made.ok());
    CHECK(made.error().is(sys::kNoSpace));
    CHECK(made.error().message().find("sda") != std::string::npos);
    CHECK(test::Bench::files_below(small) == std::vector<std::string>{small + "/filler"});
  }
  CHECK(::umount2(small.c_str(), 0) == 0);
}

TEST_CASE("image: declared content is believed only when it is not contradicted") {
  ImageBench bench;
  NEED_BENCH(bench, "image verify");
  VBD_REQUIRE_OR_SKIP(bench.run({"qemu-img", "--version"}) == 0, "image verify", "needs qemu-img");
  REQUIRE(bench.run({"qemu-img", "create", "-q", "-f", "qcow2", bench.image("qcow"), "10M"}) == 0);
  REQUIRE(bench.create("raw", 1 << 20).ok());
  bench.make_raw("odd", 1000);
  bench.make_raw("empty", 0);

  const auto raw = bench.verify("raw", "FT_RAW");
  REQUIRE_MESSAGE(raw.ok(), raw.error().message());
  CHECK(raw->virtual_size == 1 << 20);
  const auto qcow = bench.verify("qcow", "FT_QCOW");
  REQUIRE_MESSAGE(qcow.ok(), qcow.error().message());
  CHECK(qcow->virtual_size == 10 << 20);

  const auto disguised = bench.verify("qcow", "FT_RAW");
  REQUIRE_FALSE(disguised.ok());
  CHECK(disguised.error().is(image::kWrongFiletype));
  CHECK_MESSAGE(disguised.error().message().find("FT_QCOW") != std::string::npos,
                disguised.error().message());
  const auto wrong = bench.verify("raw", "FT_QCOW");
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.error().is(image::kWrongFiletype));
  CHECK_FALSE(bench.verify("odd", "FT_RAW").ok());
  CHECK_FALSE(bench.verify("empty", "FT_RAW").ok());
}

TEST_CASE("image: references are named and refused unless the configuration allows the file") {
  ImageBench bench;
  NEED_BENCH(bench, "image references");
  image::ImageInfo info;
  CHECK(image::check_references(info, bench.settings, bench.image("top")).ok());
  info.references = {{"backing", "/etc/passwd", ""}};
  auto refused = image::check_references(info, bench.settings, bench.image("top"));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().is(image::kReference));
  CHECK(refused.error().message().find("backing \"/etc/passwd\"") != std::string::npos);

  bench.settings.references = config::ReferencePolicy::below_allowed_dirs;
  CHECK_FALSE(image::check_references(info, bench.settings, bench.image("top")).ok());
  bench.make_raw("base", 1 << 20);
  info.references = {{"backing", "base", ""}};
  const auto allowed = image::check_references(info, bench.settings, bench.image("top"));
  CHECK_MESSAGE(allowed.ok(), allowed.error().message());
  info.references = {{"backing", "../images/base/../../../../etc/passwd", ""}};
  CHECK_FALSE(image::check_references(info, bench.settings, bench.image("top")).ok());
}

TEST_CASE("image: remove refuses an image that somebody has, then unlinks it") {
  ImageBench bench;
  NEED_BENCH(bench, "image remove");
  REQUIRE(bench.create("sda", 1 << 20).ok());
  {
    const sys::Fd user = bench.open("sda", O_RDWR);
    REQUIRE(sys::lock_image(user.get(), sys::ImageLockMode::exclusive, "sda").ok());
    const auto held = bench.remove("sda");
    REQUIRE_FALSE(held.ok());
    CHECK(held.error().exit() == Exit::busy);
    CHECK(test::fs::exists(bench.image("sda")));
  }
  REQUIRE(::symlink("sda", bench.image("link").c_str()) == 0);
  const auto link = bench.remove("link");
  REQUIRE_FALSE(link.ok());
  CHECK(link.error().is(sys::kSymlink));
  const auto removed = bench.remove("sda");
  if (!removed.ok() && removed.error().is(image::kPartialView)) {
    VBD_REQUIRE_OR_SKIP(false, "image remove", "needs root to see every process");
  }
  REQUIRE_MESSAGE(removed.ok(), removed.error().message());
  CHECK_FALSE(test::fs::exists(bench.image("sda")));
  const auto gone = bench.remove("sda");
  REQUIRE_FALSE(gone.ok());
  CHECK(gone.error().is(sys::kNotFound));
}
