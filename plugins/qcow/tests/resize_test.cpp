// SPDX-License-Identifier: MIT
// Resize, preallocation, leaks and their repair, and files much larger than what is in them.
#include <doctest/doctest.h>

#include "configs.hpp"
#include "corpus.hpp"
#include "sdk/testkit/workload.hpp"
#include "tests/support/skip.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

std::vector<unsigned char> filled(uint64_t length, unsigned char byte) {
  return std::vector<unsigned char>(length, byte);
}

void put_at(const vbd_file *file, uint64_t offset, uint64_t length, unsigned char byte) {
  Image image(filetype());
  REQUIRE_MESSAGE(image.open(file, 0) == VBD_OK, image.error().all());
  REQUIRE_MESSAGE(image.write(filled(length, byte).data(), length, offset) == VBD_OK, image.error().all());
  REQUIRE_MESSAGE(image.close() == VBD_OK, image.error().all());
}

}  // namespace

TEST_CASE("growing moves the L1 table, shrinking must be asked for") {
  for (const Pairs &params : {Pairs{{"version", "1"}}, Pairs{{"version", "2"}, {"cluster_size", "4096"}},
                              Pairs{{"cluster_size", "512"}}, Pairs{{"extended_l2", "true"}}}) {
    MemoryFile file;
    REQUIRE(call(Op::create, file.file(), 100u << 10, 0, params).status == VBD_OK);
    put_at(file.file(), 0, 100u << 10, 3);
    const Outcome grown = call(Op::resize, file.file(), 80u << 20);
    REQUIRE_MESSAGE(grown.status == VBD_OK, grown.message);
    CHECK(call(Op::check, file.file()).status == VBD_OK);
    put_at(file.file(), (80u << 20) - 512, 512, 4);
    CHECK(call(Op::resize, file.file(), 50u << 10).reason == "qcow.shrink");
    CHECK(call(Op::resize, file.file(), 50u << 10, VBD_MUST_SHRINK | VBD_MUST_DRY_RUN).status == VBD_OK);
    CHECK(call(Op::info, file.file()).results->number("virtual_size") == 80u << 20);
    const Outcome shrunk = call(Op::resize, file.file(), 50u << 10, VBD_MUST_SHRINK);
    REQUIRE_MESSAGE(shrunk.status == VBD_OK, shrunk.message);
    REQUIRE(call(Op::resize, file.file(), 200u << 10).status == VBD_OK);
    SparseBytes expected;
    expected.resize(200u << 10);
    expected.write(filled(50u << 10, 3).data(), 50u << 10, 0);
    Image image(filetype());
    REQUIRE(image.open(file.file(), VBD_MUST_READONLY) == VBD_OK);
    CHECK(compare_content(image, expected, 0, expected.size()) == "");
    const Outcome check = call(Op::check, file.file());
    CHECK_MESSAGE(check.status == VBD_OK, check.message);
    if (params[0].second != "1") CHECK(check.results->number("leaks") == 0);
  }
}

TEST_CASE("leaks are found, counted as QEMU does, and given back") {
  const SparseBytes valid = *parent("v3");
  SparseBytes bytes = valid;
  bytes.resize(bytes.size() + 40960);
  const Places places(bytes);
  const uint64_t first = valid.size() / 4096;
  for (uint64_t i = 0; i < 10; ++i) put8(bytes, places.refcount_block + (first + i) * 2 + 1, i == 4 ? 7 : 1);
  MemoryFile file(bytes);
  const Outcome found = call(Op::check, file.file());
  CHECK(found.status == VBD_OK);
  CHECK(found.results->number("leaks") == 10);
  if (have("qemu-img")) {
    const Scratch scratch;
    save(bytes, scratch.path("image"));
    const Ran ran = run({"qemu-img", "check", "--output=json", "-f", "qcow2", scratch.path("image")});
    CHECK(ran.status == 3);
    CHECK(ran.out.find("\"leaks\": 10") != std::string::npos);
  }
  const Outcome repaired = call(Op::check, file.file(), 0, VBD_MUST_REPAIR_LEAKS);
  CHECK(repaired.status == VBD_OK);
  CHECK(repaired.results->number("leaks") == 0);
  CHECK(repaired.results->number("leaks_repaired") == 10);
  CHECK(call(Op::check, file.file()).results->number("leaks") == 0);
}

TEST_CASE("dirty and corrupt images are read, refused to writers, and repaired") {
  for (const uint64_t bit : {1u, 2u}) {
    SparseBytes bytes = *parent("v3");
    put64(bytes, 72, bit);
    MemoryFile file(bytes);
    CHECK(call(Op::info, file.file()).results->flag(bit == 1 ? "dirty" : "corrupt"));
    Image image(filetype());
    CHECK(image.open(file.file(), VBD_MUST_READONLY) == VBD_OK);
    CHECK(image.close() == VBD_OK);
    CHECK(image.open(file.file(), 0) == VBD_E_CORRUPT);
    CHECK(image.error().reason() == (bit == 1 ? "qcow.dirty" : "qcow.marked_corrupt"));
    CHECK(call(Op::check, file.file(), 0, VBD_MUST_REPAIR_LEAKS).status == VBD_OK);
    CHECK(get64(file.content(), 72) == bit);
    CHECK(call(Op::check, file.file(), 0, VBD_MUST_REPAIR_ALL).status == VBD_OK);
    CHECK(get64(file.content(), 72) == 0);
    CHECK(image.open(file.file(), 0) == VBD_OK);
  }
}

TEST_CASE("a file much larger than its content is checked by what is in it") {
  // The file ends 3 TiB on: more clusters than are counted at once, and few references.
  SparseBytes bytes = *parent("v3 64k");
  bytes.resize(3ull << 40);
  MemoryFile file(bytes);
  const Outcome clean = call(Op::check, file.file());
  CHECK_MESSAGE(clean.status == VBD_OK, clean.message);
  CHECK(clean.results->number("leaks") == 0);
  const Places places(bytes);
  put8(bytes, places.refcount_block + 1000 * 2 + 1, 1);
  file.set_content(bytes);
  CHECK(call(Op::check, file.file()).results->number("leaks") == 1);
  put64(bytes, places.l2, (1ull << 63) | (2ull << 40));
  file.set_content(bytes);
  const Outcome bad = call(Op::check, file.file());
  CHECK(bad.reason == "qcow.refcount_too_low");
  CHECK(bad.results->number("leaks") == 2);  // and what the entry pointed at before
}

TEST_CASE("many references in a large file are checked window by window") {
  if (seconds_for(0, 1) == 0) return;  // half a minute: in soak only
  MemoryFile file;
  REQUIRE(
      call(Op::create, file.file(), 5ull << 30, 0, {{"cluster_size", "512"}, {"preallocation", "metadata"}})
          .status == VBD_OK);
  const Outcome check = call(Op::check, file.file());
  CHECK_MESSAGE(check.status == VBD_OK, check.message);
  CHECK(check.results->number("leaks") == 0);
  SparseBytes bytes = file.content();
  put64(bytes, Places(bytes).refcount_table, 0);
  file.set_content(bytes);
  CHECK(call(Op::check, file.file()).status == VBD_E_CORRUPT);
  const Outcome repaired = call(Op::check, file.file(), 0, VBD_MUST_REPAIR_ALL);
  CHECK_MESSAGE(repaired.status == VBD_OK, repaired.message);
}
