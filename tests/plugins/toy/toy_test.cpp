// SPDX-License-Identifier: MIT
// The image table of the ABI carries a format that is not flat: packed extents, reserve and commit, safe
// against power cuts; in memory, in a real file, and in a file that loses what was not synced.
#include <doctest/doctest.h>

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sdk/testkit/crash.hpp"
#include "sdk/testkit/files.hpp"
#include "sdk/testkit/model.hpp"

using namespace vbdkit::testkit;

namespace {

Filetype toy() {
  static std::string error;
  static const std::unique_ptr<Plugin> plugin = Plugin::linked(vbd_plugin_v1(), error);
  return plugin->filetype();
}

CrashOptions small() {
  CrashOptions options;
  options.bytes = 96u << 10;
  options.max_bytes = 160u << 10;
  options.largest = 24u << 10;
  options.flush_one_in = 5;
  return options;
}

std::string create(const vbd_file *file, std::uint64_t bytes) {
  Request request(file, bytes);
  Results results;
  ErrorBox error;
  return toy().ops->create(toy().self, request.get(), results.sink(), error.get()) == VBD_OK ? ""
                                                                                             : error.all();
}

}  // namespace

TEST_CASE("the plugin file loads by itself and needs nothing of the host") {
  const char *path = std::getenv("VBD_TOY_PLUGIN");
  REQUIRE(path != nullptr);
  std::string error;
  const auto plugin = Plugin::load(path, error);
  REQUIRE_MESSAGE(plugin != nullptr, error);
  const TestResult result = model_test(plugin->filetype(), 1, 100);
  CHECK_MESSAGE(result.passed(), result.failure);
}

TEST_CASE("a random guest reads what it wrote, in memory") {
  ModelOptions options;
  options.max_bytes = 3u << 20;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    options.alignment = seed % 2 == 0 ? 1 : 512;
    options.params = {{"pack", seed % 4 < 2 ? "true" : "false"}};
    options.bytes = (1u << 20) + (seed % 3) * 512;  // a last block that the end cuts
    const TestResult result = model_test(toy(), seed, 400, options);
    CHECK_MESSAGE(result.passed(), result.failure);
  }
}

TEST_CASE("a random guest reads what it wrote, in a real file") {
  std::FILE *temporary = std::tmpfile();
  REQUIRE(temporary != nullptr);
  FdFile file(::fileno(temporary), VBD_FILE_NO_SYNC);
  ModelOptions options;
  options.steps = 300;
  options.max_bytes = 3u << 20;
  const TestResult result = model_test(toy(), file.file(), options);
  std::fclose(temporary);
  CHECK_MESSAGE(result.passed(), result.failure);
}

TEST_CASE("all kinds of extents are seen, and a reserve is not until its commit") {
  MemoryFile memory;
  REQUIRE(create(memory.file(), 1u << 20).empty());
  Image image(toy());
  REQUIRE(image.open(memory.file()) == VBD_OK);
  const std::vector<unsigned char> same(8192, 7);
  std::vector<unsigned char> mixed(8192);
  for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] = static_cast<unsigned char>(i * 37 >> 3);
  REQUIRE(image.write(same.data(), same.size(), 0) == VBD_OK);
  REQUIRE(image.write(mixed.data(), mixed.size(), 8192) == VBD_OK);
  REQUIRE(image.zero(16384, 4096) == VBD_OK);
  REQUIRE(image.zero(20480, 4096, VBD_ZERO_KEEP_SPACE) == VBD_OK);
  std::vector<vbd_extent> reserved, extents;
  REQUIRE(image.reserve(24576, 8192, reserved) == VBD_OK);
  REQUIRE(reserved.size() == 1);
  memory.file()->write(memory.file()->ctx, mixed.data(), mixed.size(), reserved[0].host_offset);

  REQUIRE(image.map(0, 1u << 20, extents) == VBD_OK);
  std::string kinds;
  for (const vbd_extent &extent : extents) kinds += static_cast<char>('0' + extent.kind);
  CHECK(kinds == "43221");  // packed, data, zero, zero with its space, hole
  CHECK(extents[2].host_offset == ~std::uint64_t{0});
  CHECK(extents[3].host_offset != ~std::uint64_t{0});
  CHECK(extents[4].offset == 24576);

  REQUIRE(image.commit(24576, 8192) == VBD_OK);
  REQUIRE(image.map(24576, 8192, extents) == VBD_OK);
  CHECK(extents.size() == 1);
  CHECK(extents[0].kind == VBD_EXTENT_DATA);
  CHECK(extents[0].host_offset == reserved[0].host_offset);
  CHECK(image.commit(24576, 8192) == VBD_E_INVAL);
  CHECK(image.error().reason() == "toy.not_reserved");
}

TEST_CASE("after a power cut at any write or sync, every flushed byte is there and no reserved one is") {
  CrashOptions options = small();
  std::uint64_t images = 0, cuts = 0;
  const std::uint64_t seeds = std::getenv("VBD_SANITIZED") != nullptr ? 10 : 40;
  for (options.seed = 1; options.seed <= seeds; ++options.seed) {
    const TestResult result = crash_test(toy(), options);
    REQUIRE_MESSAGE(result.passed(), result.failure);
    images += result.images;
    cuts += result.cuts;
  }
  CHECK(cuts > 25 * seeds);
  CHECK(images > 250 * seeds);
}

TEST_CASE("each of the two barriers of a save is needed, and the crash test shows it") {
  for (const bool after_header : {false, true}) {
    bool noticed = false;
    CrashOptions options = small();
    options.ignored_syncs = [after_header](std::uint64_t, const Operation *last) {
      const bool header = last != nullptr && last->call == Call::write && last->offset < 1024;
      return header == after_header;
    };
    for (options.seed = 1; options.seed <= 20 && !noticed; ++options.seed) {
      noticed = !crash_test(toy(), options).passed();
    }
    CHECK_MESSAGE(noticed, "barrier ", after_header ? "after the header" : "before the header");
  }
}

TEST_CASE("after no space or an I/O error, what was flushed is there") {
  const CrashOptions options = small();
  for (const int error : {ENOSPC, EIO}) {
    const TestResult result = fault_test(toy(), error, 60, options);
    CHECK_MESSAGE(result.passed(), result.failure);
    CHECK(result.cuts > 20);
  }
}

/// A file in whose sync another call comes to the same image.
struct MeetingFile {
  vbd_file file{};
  const vbd_file *inner = nullptr;
  Image *image = nullptr;
  int32_t status = VBD_OK;
  std::string reason;

  explicit MeetingFile(const vbd_file *given) : file(*given), inner(given) {
    file.ctx = this;
    file.read = [](void *ctx, void *to, uint64_t length, uint64_t at) noexcept {
      return of(ctx).inner->read(of(ctx).inner->ctx, to, length, at);
    };
    file.write = [](void *ctx, const void *from, uint64_t length, uint64_t at) noexcept {
      return of(ctx).inner->write(of(ctx).inner->ctx, from, length, at);
    };
    file.get_size = [](void *ctx, uint64_t *bytes) noexcept {
      return of(ctx).inner->get_size(of(ctx).inner->ctx, bytes);
    };
    file.truncate = [](void *ctx, uint64_t bytes) noexcept {
      return of(ctx).inner->truncate(of(ctx).inner->ctx, bytes);
    };
    file.allocate = [](void *ctx, uint64_t at, uint64_t length) noexcept {
      return of(ctx).inner->allocate(of(ctx).inner->ctx, at, length);
    };
    file.punch = [](void *ctx, uint64_t at, uint64_t length) noexcept {
      return of(ctx).inner->punch(of(ctx).inner->ctx, at, length);
    };
    file.map = [](void *ctx, uint64_t at, uint64_t *length, uint32_t *is_hole) noexcept {
      return of(ctx).inner->map(of(ctx).inner->ctx, at, length, is_hole);
    };
    file.sync = [](void *ctx) noexcept {
      of(ctx).meet();
      return of(ctx).inner->sync(of(ctx).inner->ctx);
    };
  }
  static MeetingFile &of(void *ctx) { return *static_cast<MeetingFile *>(ctx); }
  /// Once: closing the image syncs too.
  void meet() {
    if (image == nullptr) return;
    std::vector<unsigned char> bytes(512);
    ErrorBox error;
    status = image->ops()->read(image->raw(), bytes.data(), bytes.size(), 0, error.get());
    reason = error.reason();
    image = nullptr;
  }
};

TEST_CASE("calls that meet are noticed") {
  MemoryFile memory;
  REQUIRE(create(memory.file(), 16u << 20).empty());
  MeetingFile meeting(memory.file());
  Image image(toy());
  meeting.image = &image;
  REQUIRE(image.open(&meeting.file) == VBD_OK);
  CHECK(image.ops()->flags == 0);
  const std::vector<unsigned char> bytes(4096, 'x');
  REQUIRE(image.write(bytes.data(), bytes.size(), 0) == VBD_OK);
  CHECK(meeting.reason == "");
  REQUIRE(image.flush() == VBD_OK);
  CHECK(meeting.status == VBD_E_INTERNAL);
  CHECK(meeting.reason == "toy.called_twice");
}

TEST_CASE("a damaged image is refused with a reason") {
  MemoryFile memory;
  REQUIRE(create(memory.file(), 1u << 20).empty());
  Image image(toy());
  const SparseBytes good = memory.content();
  SparseBytes bad = good;
  bad.write("X", 1, 1024 + 3);
  memory.set_content(bad);
  CHECK(image.open(memory.file()) == VBD_E_CORRUPT);
  CHECK(image.error().reason() == "toy.table_checksum");
  CHECK_FALSE(run_check(toy(), memory.file()).empty());
  bad = good;
  bad.resize(1200);
  memory.set_content(bad);
  CHECK(image.open(memory.file()) == VBD_E_CORRUPT);
  CHECK(image.error().reason() == "toy.table_beyond_eof");
  memory.set_content({});
  CHECK(image.open(memory.file()) == VBD_E_CORRUPT);
  CHECK(image.error().reason() == "toy.no_header");
}
