// SPDX-License-Identifier: MIT
// Hostile images: each is refused for its rule, by the right operation, without a change, a hang or much
// memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "corpus.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

struct Verdict {
  int32_t status = VBD_OK;
  std::string reason, text;
};

Verdict of(const Outcome &outcome) {
  return {outcome.status, outcome.reason, outcome.message};
}

Verdict failed(int32_t status, Image &image) {
  return {status, image.error().reason(), image.error().text()};
}

/// Opens, maps and reads everything.
Verdict read_all(const vbd_file *file, bool read) {
  Image image(filetype());
  int32_t status = image.open(file, VBD_MUST_READONLY);
  if (status != VBD_OK || !read) return failed(status, image);
  std::vector<vbd_extent> extents;
  status = image.map(0, image.virtual_size(), extents);
  std::vector<unsigned char> buffer(65536);
  for (uint64_t at = 0; status == VBD_OK && at < image.virtual_size(); at += buffer.size()) {
    const uint64_t now = std::min<uint64_t>(buffer.size(), image.virtual_size() - at);
    status = image.read(buffer.data(), now, at);
  }
  return failed(status, image);
}

Verdict run_stage(Stage stage, const vbd_file *file) {
  switch (stage) {
    case Stage::info:
      return of(call(Op::info, file));
    case Stage::open:
      return read_all(file, false);
    case Stage::read:
      return read_all(file, true);
    case Stage::check:
      return of(call(Op::check, file));
  }
  return {};
}

}  // namespace

TEST_CASE("valid parents pass everything") {
  for (const auto &one : parents()) {
    CAPTURE(one.first);
    const MemoryFile file(one.second, VBD_FILE_READONLY);
    for (const Stage stage : {Stage::info, Stage::open, Stage::read, Stage::check}) {
      const Verdict verdict = run_stage(stage, file.file());
      CHECK_MESSAGE(verdict.status == VBD_OK, verdict.reason << " " << verdict.text);
    }
    CHECK(call(Op::check, file.file()).results->number("leaks") == 0);
  }
}

TEST_CASE("each hostile image is refused for its rule") {
  CHECK(hostile_images().size() >= 80);
  std::set<std::string> reasons;
  for (const Hostile &one : hostile_images()) {
    CAPTURE(one.name);
    const SparseBytes *from = parent(one.parent);
    if (from == nullptr) continue;  // needs qemu-img
    SparseBytes image = *from;
    one.edit(image);
    REQUIRE_MESSAGE(!(image == *from), "the edit changed nothing");
    MemoryFile file(image);
    const auto start = std::chrono::steady_clock::now();
    const Verdict verdict = run_stage(one.stage, file.file());
    CHECK(verdict.status == one.status);
    CHECK_MESSAGE(verdict.reason == one.reason, verdict.text);
    reasons.insert(verdict.reason);
    // Whatever the others say: no change, no hang, and a writer is refused before it writes.
    for (const Stage stage : {Stage::info, Stage::open, Stage::read, Stage::check})
      (void)run_stage(stage, file.file());
    if (one.stage != Stage::read && one.name != "says shared, is not") {
      Image writer(filetype());
      CHECK(writer.open(file.file(), 0) != VBD_OK);
    }
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
    CHECK(file.content() == image);
  }
  MESSAGE(hostile_images().size() << " images, " << reasons.size() << " reasons");
}

TEST_CASE("repair makes of damaged counts what the tables say") {
  for (const char *name :
       {"data not counted", "refcount block missing", "refcount block beyond eof", "refcount block twice",
        "data shared but counted once", "says shared, is not", "refcount table at 0"}) {
    CAPTURE(std::string(name));
    const auto &list = hostile_images();
    const auto one = std::find_if(list.begin(), list.end(), [&](const Hostile &h) { return h.name == name; });
    REQUIRE(one != list.end());
    SparseBytes image = *parent(one->parent);
    one->edit(image);
    MemoryFile file(image);
    CHECK(call(Op::check, file.file()).status == VBD_E_CORRUPT);
    CHECK(call(Op::check, file.file(), 0, VBD_MUST_REPAIR_ALL | VBD_MUST_DRY_RUN).status == VBD_E_CORRUPT);
    CHECK(file.content() == image);
    const Outcome repaired = call(Op::check, file.file(), 0, VBD_MUST_REPAIR_ALL);
    CHECK_MESSAGE(repaired.status == VBD_OK, repaired.message);
    CHECK(repaired.results->number("errors_repaired") > 0);
    const Outcome again = call(Op::check, file.file());
    CHECK_MESSAGE(again.status == VBD_OK, again.message);
    CHECK(again.results->number("leaks") == 0);
    CHECK(read_all(file.file(), true).status == VBD_OK);
  }
}
