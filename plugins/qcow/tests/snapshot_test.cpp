// SPDX-License-Identifier: MIT
// What an image shares or carries along: snapshots, bitmaps, backing files, unknown autoclear bits.
#include <doctest/doctest.h>

#include "corpus.hpp"
#include "sdk/testkit/workload.hpp"
#include "tests/support/skip.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

std::vector<unsigned char> filled(uint64_t length, unsigned char byte) {
  return std::vector<unsigned char>(length, byte);
}

bool says(const std::string &text, const char *part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("writing to an image with a snapshot leaves the snapshot as it was") {
  VBD_REQUIRE_OR_SKIP(have("qemu-img"), "qcow.snapshot", "qemu-img is not installed");
  for (const char *options :
       {"cluster_size=4096", "compat=0.10", "cluster_size=64k,extended_l2=on", "cluster_size=512"}) {
    CAPTURE(std::string(options));
    Scratch scratch;
    const std::string path = scratch.path("image"), before = scratch.path("before"),
                      after = scratch.path("after");
    REQUIRE(run({"qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "4M"}).status == 0);
    REQUIRE(
        run({"qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", "-c", "write -P 2 3M 100k", path}).status ==
        0);
    REQUIRE(run({"qemu-img", "snapshot", "-c", "one", path}).status == 0);
    REQUIRE(run({"qemu-img", "convert", "-l", "one", "-O", "raw", path, before}).status == 0);
    DiskFile disk(path);
    const Outcome info = call(Op::info, disk.file());
    CHECK(info.results->number("snapshots") == 1);
    CHECK(info.results->text("snapshot.0.name") == "one");
    SparseBytes expected;
    expected.resize(4u << 20);
    expected.write(filled(1u << 20, 1).data(), 1u << 20, 0);
    expected.write(filled(100u << 10, 2).data(), 100u << 10, 3u << 20);
    {
      Image image(filetype());
      REQUIRE_MESSAGE(image.open(disk.file(), 0) == VBD_OK, image.error().all());
      const auto write = [&](uint64_t offset, uint64_t length, unsigned char byte) {
        REQUIRE_MESSAGE(image.write(filled(length, byte).data(), length, offset) == VBD_OK,
                        image.error().all());
        expected.write(filled(length, byte).data(), length, offset);
      };
      write(512, 70000, 3);
      write(2u << 20, 5000, 4);
      REQUIRE(image.zero(300000, 200000) == VBD_OK);
      expected.punch(300000, 200000);
      CHECK(compare_content(image, expected, 0, expected.size()) == "");
      REQUIRE(image.close() == VBD_OK);
    }
    const Ran check = run({"qemu-img", "check", "-f", "qcow2", path});
    CHECK_MESSAGE(check.status == 0, check.out);
    CHECK(run_check(filetype(), disk.file()) == "");
    REQUIRE(run({"qemu-img", "convert", "-l", "one", "-O", "raw", path, after}).status == 0);
    CHECK(load(before) == load(after));
    CHECK(call(Op::resize, disk.file(), 2u << 20, VBD_MUST_SHRINK).reason == "qcow.resize_snapshots");
    save(expected, scratch.path("raw"));
    CHECK(run({"qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, scratch.path("raw")}).status == 0);
    REQUIRE(run({"qemu-img", "snapshot", "-d", "one", path}).status == 0);
    CHECK(run_check(filetype(), disk.file()) == "");
  }
}

TEST_CASE("bitmaps stay, and say that they miss our writes") {
  VBD_REQUIRE_OR_SKIP(parent("v3 bitmap") != nullptr, "qcow.bitmap", "qemu-img is not installed");
  Scratch scratch;
  save(*parent("v3 bitmap"), scratch.path("image"));
  DiskFile disk(scratch.path("image"));
  CHECK(call(Op::info, disk.file()).results->number("bitmaps") == 1);
  Image image(filetype());
  REQUIRE_MESSAGE(image.open(disk.file(), 0) == VBD_OK, image.error().all());
  REQUIRE(image.write(filled(512, 9).data(), 512, 4096) == VBD_OK);
  REQUIRE(image.close() == VBD_OK);
  CHECK(run({"qemu-img", "check", "-f", "qcow2", scratch.path("image")}).status == 0);
  CHECK(says(run({"qemu-img", "info", scratch.path("image")}).out, "in-use"));
  CHECK(call(Op::resize, disk.file(), 2u << 20).reason == "qcow.resize_bitmaps");
}

TEST_CASE("unknown autoclear bits go with the first write, not before") {
  SparseBytes bytes = *parent("v3");
  put64(bytes, 88, 1ull << 40);
  MemoryFile file(bytes);
  {
    Image image(filetype());
    REQUIRE(image.open(file.file(), 0) == VBD_OK);
    REQUIRE(image.close() == VBD_OK);
  }
  CHECK(file.content() == bytes);
  Image image(filetype());
  REQUIRE(image.open(file.file(), 0) == VBD_OK);
  REQUIRE(image.write(filled(512, 9).data(), 512, 4096) == VBD_OK);
  REQUIRE(image.close() == VBD_OK);
  CHECK(get64(file.content(), 88) == 0);
}

TEST_CASE("a backing file that was handed over is read through") {
  MemoryFile file;
  REQUIRE(call(Op::create, file.file(), 1u << 20, 0, {{"cluster_size", "4096"}}).status == VBD_OK);
  SparseBytes bytes = file.content();
  put64(bytes, 8, 512);
  put32(bytes, 16, 4);
  bytes.write("base", 4, 512);
  file.set_content(bytes);
  SparseBytes base;
  base.write(filled(300000, 5).data(), 300000, 0);
  const MemoryFile base_file(base, VBD_FILE_READONLY);
  const Outcome info = call(Op::info, file.file());
  CHECK(info.status == VBD_OK);
  CHECK(info.results->text("reference.0.role") == "backing");
  CHECK(info.results->text("reference.0.name") == "base");

  const vbd_image_ops &ops = *filetype().ops->image;
  vbd_reference reference = {sizeof(vbd_reference), 0, "backing", "base", base_file.file()};
  Request request(file.file());
  request.references({reference});
  ErrorBox error;
  void *image = nullptr;
  REQUIRE_MESSAGE(ops.open(filetype().self, request.get(), &image, error.get()) == VBD_OK, error.all());
  vbd_extent extents[8];
  uint32_t n = 0;
  REQUIRE(ops.map(image, 0, 1u << 20, extents, 8, &n, error.get()) == VBD_OK);
  REQUIRE(n == 2);
  CHECK(extents[0].kind == VBD_EXTENT_REFERENCE);
  CHECK(extents[0].file == 1);
  CHECK(extents[0].length == 300000);
  CHECK(extents[1].kind == VBD_EXTENT_HOLE);
  // A write keeps the rest of its cluster; zeros hide what lies below.
  REQUIRE(ops.write(image, filled(512, 6).data(), 512, 8192 + 512, error.get()) == VBD_OK);
  REQUIRE(ops.zero(image, 40960, 8192, VBD_ZERO_MAY_PUNCH, error.get()) == VBD_OK);
  SparseBytes expected = base;
  expected.resize(1u << 20);
  expected.write(filled(512, 6).data(), 512, 8192 + 512);
  expected.punch(40960, 8192);
  std::vector<unsigned char> got(1u << 20);
  REQUIRE(ops.read(image, got.data(), got.size(), 0, error.get()) == VBD_OK);
  CHECK(SparseBytes::of(got) == expected);
  CHECK(ops.close(image, error.get()) == VBD_OK);
  CHECK(call(Op::check, file.file()).status == VBD_OK);
}

TEST_CASE("info, map and check read the tables only") {
  MemoryFile file;
  REQUIRE(call(Op::create, file.file(), 8ull << 30).status == VBD_OK);
  {
    Image image(filetype());
    REQUIRE(image.open(file.file(), 0) == VBD_OK);
    for (uint64_t at = 0; at < (8ull << 30); at += 64u << 20)
      REQUIRE(image.write(filled(200000, 7).data(), 200000, at) == VBD_OK);
    REQUIRE(image.close() == VBD_OK);
  }
  CountingFile counting(file.file());
  const uint64_t tables = 16 * 65536 + 65536;  // L2 tables and what lies around them
  CHECK(call(Op::info, counting.file()).status == VBD_OK);
  CHECK(counting.count(Call::read).bytes < 4096);
  counting.reset();
  CHECK(call(Op::check, counting.file()).status == VBD_OK);
  CHECK(counting.count(Call::read).bytes < 2 * tables);
  counting.reset();
  Image image(filetype());
  REQUIRE(image.open(counting.file(), VBD_MUST_READONLY) == VBD_OK);
  std::vector<vbd_extent> extents;
  REQUIRE(image.map(0, 8ull << 30, extents) == VBD_OK);
  CHECK(extents.size() == 256);
  CHECK(counting.count(Call::read).bytes < 2 * tables);
  CHECK(counting.count(Call::write).calls == 0);
}
