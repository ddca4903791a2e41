// SPDX-License-Identifier: MIT
// States that a killed run leaves, made by hand with the same steps, and what the next verb makes of them.
// The kill at every system call is in tests/e2e.
#include "fixture.hpp"
#include "manager/instance/site.hpp"
#include "manager/instance/storage.hpp"

using namespace vbd;
using namespace vbd::instance;
using vbd::test::Fixture;
using vbd::test::kMiB;
namespace fs = std::filesystem;

namespace {

struct Interrupted : Fixture {
  InstanceRecord record;

  /// An add of two disks that came as far as the first image.
  void half_add(bool with_pointer = true, bool with_image = true) {
    record = InstanceRecord{};
    record.uuid = "11111111-2222-4333-8444-555555555555";
    record.name = "web1";
    record.directory = image("web1");
    record.node = "node1";
    record.created = "2026-01-31T12:00:00Z";
    record.operation = OperationRecord{"add", "2026-01-31T12:00:00Z", {"sda", "sdb"}, true};
    Catalog catalog(settings);
    auto names = catalog.lock_names();
    REQUIRE(names.ok());
    auto site = make_site(settings, record);
    if (!site) FAIL(site.error().message());
    if (with_pointer) REQUIRE(catalog.write_pointer(record).ok());
    if (with_image) make_raw("web1/sda", kMiB);
  }
  std::vector<Problem> verify(bool repair, bool rebuild = false) {
    auto problems = instance::verify(manager(), {repair, rebuild}, false);
    if (!problems) FAIL(problems.error().message());
    return *problems;
  }
  void check_clean() {
    CHECK(!knows("web1"));
    CHECK(fs::is_empty(images()));
    CHECK(verify(false).empty());
  }
};

}  // namespace

TEST_CASE("an interrupted add is seen, done again, removed or repaired") {
  Interrupted f;
  NEED_FIXTURE(f, "interrupted add");
  for (const bool with_pointer : {true, false}) {
    f.half_add(with_pointer);
    if (with_pointer) CHECK(f.find("web1").state == State::interrupted);
    CHECK(f.add(f.spec("web1", "file:", {"0:size=3"})) == "");
    CHECK(f.find("web1").record.disks.at(0).size == 3 * kMiB);
    REQUIRE(f.remove("web1") == "");
    f.check_clean();

    f.half_add(with_pointer);
    CHECK(f.remove("web1") == "");
    f.check_clean();

    f.half_add(with_pointer);
    CHECK(f.verify(false).size() == 1);
    CHECK(fs::exists(f.image("web1/sda")));
    const auto problems = f.verify(true);
    REQUIRE(problems.size() == 1);
    CHECK(problems[0].repaired);
    f.check_clean();
  }
}

TEST_CASE("an add that still runs is not undone") {
  Interrupted f;
  NEED_FIXTURE(f, "running add");
  f.half_add();
  auto running = open_site(f.settings, f.image("web1"), std::chrono::milliseconds(0));
  REQUIRE(running.ok());
  auto again = instance::add(f.manager(), f.spec("web1", "file:", {"0:size=1"}), false);
  REQUIRE(!again.ok());
  CHECK(again.error().exit() == Exit::busy);
  CHECK(fs::exists(f.image("web1/sda")));
  const auto problems = f.verify(true);
  REQUIRE(problems.size() == 1);
  CHECK(!problems[0].repaired);
}

TEST_CASE("undoing deletes only what the add recorded") {
  Interrupted f;
  NEED_FIXTURE(f, "undo");
  f.half_add();
  f.make_raw("web1/sdc", kMiB);
  test::spill(f.image("web1/notes"), "keep");
  CHECK(f.remove("web1") == "");
  CHECK(!fs::exists(f.image("web1/sda")));
  CHECK(fs::exists(f.image("web1/sdc")));
  CHECK(test::slurp(f.image("web1/notes")) == "keep");
  CHECK(!f.knows("web1"));
}

TEST_CASE("an image in use keeps an interrupted add as it is") {
  Interrupted f;
  NEED_FIXTURE(f, "undo in use");
  f.half_add();
  auto fd = sys::open_image_anywhere(f.image("web1/sda"), sys::Access::read);
  REQUIRE(fd.ok());
  REQUIRE(sys::lock_image(fd->get(), sys::ImageLockMode::stable, "sda").ok());
  CHECK(instance::remove(f.manager(), {"web1", false, false}, false).error().exit() == Exit::busy);
  CHECK(fs::exists(f.image("web1/sda")));
  CHECK(f.find("web1").state == State::interrupted);
}

TEST_CASE("an interrupted removal goes on, from any of its states") {
  Interrupted f;
  NEED_FIXTURE(f, "interrupted remove");
  const auto half_remove = [&](bool pointer_gone) {
    REQUIRE(f.add(f.spec("web1", "file:", {"0:size=1", "1:size=1"})) == "");
    auto record = f.find("web1").record;
    auto site = open_site(f.settings, record.directory, std::chrono::milliseconds(0));
    REQUIRE(site.ok());
    record.operation = OperationRecord{"remove", "2026-01-31T12:00:00Z", {"sda", "sdb"}, false};
    REQUIRE(Catalog(f.settings).write_record(site->directory.get(), record).ok());
    fs::remove(f.image("web1/sda"));
    if (pointer_gone) REQUIRE(Catalog(f.settings).remove_pointer("web1").ok());
  };
  for (const bool pointer_gone : {false, true}) {
    half_remove(pointer_gone);
    CHECK(f.remove("web1") == "");
    f.check_clean();
    half_remove(pointer_gone);
    CHECK(f.verify(true).at(0).repaired);
    f.check_clean();
    half_remove(pointer_gone);
    CHECK(f.add(f.spec("web1", "file:", {"0:size=3"})) == "");
    CHECK(f.find("web1").record.disks.size() == 1);
    REQUIRE(f.remove("web1") == "");
    f.check_clean();
  }
}

TEST_CASE("a directory that can't be renamed goes in place") {
  Interrupted f;
  NEED_FIXTURE(f, "no rename");
  f.half_add();
  const std::string taken = f.image(temporary_name(f.record.uuid));
  fs::create_directory(taken);
  test::spill(taken + "/data", "not ours");
  CHECK(f.remove("web1") == "");
  CHECK(!fs::exists(f.image("web1")));
  CHECK(!f.knows("web1"));
  CHECK(test::slurp(taken + "/data") == "not ours");
}

TEST_CASE("directories under a temporary name are found and removed, others never") {
  Interrupted f;
  NEED_FIXTURE(f, "leftover directories");
  const std::string ours = f.image(temporary_name("11111111-2222-4333-8444-555555555555"));
  const auto leave = [&] {
    fs::create_directory(ours);
    test::spill(ours + "/.vbdkit.lock", "");
  };
  leave();
  CHECK(f.verify(false).size() == 1);
  CHECK(f.verify(true).at(0).repaired);
  f.check_clean();
  leave();
  REQUIRE(f.add(f.spec("web1", "file:", {"0:size=1"})) == "");
  CHECK(!fs::exists(ours));
  REQUIRE(f.remove("web1") == "");
  leave();
  test::spill(ours + "/data", "not ours");
  CHECK(!f.verify(true).at(0).repaired);
  CHECK(fs::exists(ours + "/data"));
  fs::remove_all(ours);
  fs::create_directory(f.image(".vbd-mine.tmp"));
  CHECK(f.verify(true).empty());
  CHECK(fs::exists(f.image(".vbd-mine.tmp")));
}

TEST_CASE("a failed image undoes the add, and a file that came between is not ours") {
  Interrupted f;
  NEED_FIXTURE(f, "failed add");
  const auto before = f.snapshot();
  auto spec = f.spec("web1", "file:", {"0:size=1", "1:size=8388607t"});  // more than any filesystem takes
  CHECK(f.add(spec) != "");
  CHECK(fs::is_empty(f.images()));
  CHECK(!f.knows("web1"));
}
