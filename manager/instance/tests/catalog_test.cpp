// SPDX-License-Identifier: MIT
#include "core/device/lease.hpp"
#include "core/sys/children.hpp"
#include "fixture.hpp"
#include "manager/instance/storage.hpp"

using namespace vbd;
using namespace vbd::instance;
using vbd::test::Fixture;
using vbd::test::kMiB;
namespace fs = std::filesystem;

namespace {

bool has(const std::vector<Problem> &problems, const std::string &where, const std::string &what) {
  for (const auto &problem : problems) {
    if (problem.where.find(where) != std::string::npos && problem.what.find(what) != std::string::npos)
      return true;
  }
  return false;
}

}  // namespace

TEST_CASE("work that hangs is abandoned, and what stood behind it is done") {
  const auto start = std::chrono::steady_clock::now();
  const auto answers = sys::run_in_children(
      5, {{0, 1, 2}, {3, 4}},
      [](std::size_t item) {
        if (item == 1) ::pause();
        return item == 4 ? std::string(200000, 'x') : std::to_string(item);
      },
      std::chrono::milliseconds(200));
  CHECK(answers[0] == "0");
  CHECK(!answers[1].has_value());
  CHECK(answers[2] == "2");
  CHECK(answers[3] == "3");
  CHECK(answers[4]->size() == 200000);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
}

TEST_CASE("what a child could not read keeps its error's id, and a text its bytes") {
  Fixture f;
  NEED_FIXTURE(f, "children's errors");
  REQUIRE(f.add(f.spec("good", "file:", {"0:size=1"})) == "");
  const std::string bytes("name: x\n\\ \x01\xff \n", 14);
  test::spill(f.image("good") + "/instance.yaml", bytes);
  fs::create_directory(f.image("empty"));
  fs::create_directory(f.image("link"));
  fs::create_symlink("/etc/passwd", f.image("link") + "/instance.yaml");
  const auto files =
      read_instance_files(f.settings, {f.image("good"), f.image("empty"), f.image("link"), "/etc"});
  for (const auto &file : files) REQUIRE(file.has_value());
  REQUIRE(files[0]->ok());
  CHECK(**files[0] == bytes);
  CHECK(files[1]->error().is(sys::kNotFound));
  CHECK(files[2]->error().is(sys::kSymlink));
  CHECK(files[3]->error().is(sys::kOutside));
  CHECK_FALSE(files[3]->error().hint().empty());
}

TEST_CASE("a copied directory is foreign and never touches the original") {
  Fixture f;
  NEED_FIXTURE(f, "foreign");
  REQUIRE(f.add(f.spec("orig", "file:", {"0:size=1"})) == "");
  fs::copy(f.image("orig"), f.image("copy"), fs::copy_options::recursive);
  auto problems = instance::verify(f.manager(), {true, true}, false);
  REQUIRE(problems.ok());
  CHECK(has(*problems, f.image("copy"), "foreign"));
  CHECK(f.find("orig").state == State::stopped);

  // The original goes away and the copy takes its place.
  fs::rename(f.image("orig"), f.image("moved"));
  CHECK(f.find("orig").state == State::unreachable);
  CHECK(instance::remove(f.manager(), {"orig", false, false}, false).error().is(kUnreachable));
  fs::rename(f.image("copy"), f.image("orig"));
  auto record = f.find("orig").record;
  record.uuid = "11111111-2222-4333-8444-555555555555";
  test::spill(f.image("orig/instance.yaml"), config::write_instance(record));
  CHECK(f.find("orig").state == State::foreign);
  CHECK(instance::remove(f.manager(), {"orig", false, false}, false).error().is(kForeign));
  CHECK(config_file(f.manager(), "orig").error().is(kForeign));
  CHECK(instance::add(f.manager(), f.spec("orig", "file:path=" + f.image("x"), {"0:size=1"}), false)
            .error()
            .is(kInstanceExists));
  CHECK(fs::exists(f.image("moved/sda")));
  CHECK(fs::exists(f.image("orig/sda")));
}

TEST_CASE("a lost state directory is rebuilt from the storage") {
  Fixture f;
  NEED_FIXTURE(f, "rebuild");
  f.make("images/deep/er");
  REQUIRE(f.add(f.spec("one", "file:", {"0:size=1"})) == "");
  REQUIRE(f.add(f.spec("two", "file:path=" + f.image("deep/er/two"), {"0:size=1"})) == "");
  fs::remove_all(f.settings.state_dir);
  CHECK(Catalog(f.settings).list()->empty());
  auto gone = instance::remove(f.manager(), {"one", false, false}, false);
  CHECK(gone.error().is(kInstanceNotFound));
  CHECK(gone.error().hint().find("--rebuild") != std::string::npos);
  CHECK(instance::verify(f.manager(), {false, true}, true)->size() == 2);
  CHECK(Catalog(f.settings).list()->empty());
  auto rebuilt = instance::verify(f.manager(), {false, true}, false);
  REQUIRE(rebuilt.ok());
  CHECK(rebuilt->size() == 2);
  CHECK(rebuilt->at(0).repaired);
  CHECK(f.find("two").state == State::stopped);
  CHECK(instance::verify(f.manager(), {false, false}, false)->empty());
}

TEST_CASE("verify reports what the images say") {
  Fixture f;
  NEED_FIXTURE(f, "verify");
  REQUIRE(f.add(f.spec("web1", "file:", {"0:size=1", "1:size=1", "2:size=1"})) == "");
  fs::remove(f.image("web1/sda"));
  fs::resize_file(f.image("web1/sdb"), 2 * kMiB);
  fs::create_hard_link(f.image("web1/sdc"), f.image("backup"));
  auto record = f.find("web1").record;
  record.lease = Lease{"node1", "an-earlier-boot", "cli", "2026-01-31T12:00:00Z", 4};
  test::spill(f.image("web1/instance.yaml"), config::write_instance(record));
  auto problems = instance::verify(f.manager(), {true, false}, false);
  REQUIRE(problems.ok());
  CHECK(has(*problems, "web1/sda", "missing"));
  CHECK(has(*problems, "web1/sdb", "2097152"));
  CHECK(has(*problems, "web1/sdc", "2 names"));
  CHECK(has(*problems, "web1", "earlier boot"));
  CHECK(!f.find("web1").record.lease.held());
  CHECK(f.remove("web1") == "");
  CHECK(fs::exists(f.image("backup")));
}

TEST_CASE("another node's lease keeps an instance") {
  Fixture f;
  NEED_FIXTURE(f, "lease");
  REQUIRE(f.add(f.spec("web1", "file:", {"0:size=1"})) == "");
  auto record = f.find("web1").record;
  record.lease = Lease{"node2", "boot", "instance:web1", "2026-01-31T12:00:00Z", 4};
  test::spill(f.image("web1/instance.yaml"), config::write_instance(record));
  CHECK(instance::remove(f.manager(), {"web1", false, false}, false).error().is(device::kLeasedElsewhere));
  CHECK(fs::exists(f.image("web1/sda")));
}

TEST_CASE("list goes on when a record or a plugin is not good") {
  Fixture f;
  NEED_FIXTURE(f, "list");
  for (const char *name : {"a", "b", "c"}) REQUIRE(f.add(f.spec(name, "file:", {"0:size=1"})) == "");
  test::spill(f.image("b/instance.yaml"), "schema: 99\nname: b\n");
  fs::remove_all(f.image("c"));
  fs::remove(f.root + "/plugins/ft-raw.so");
  auto entries = Catalog(f.settings).list();
  REQUIRE(entries.ok());
  REQUIRE(entries->size() == 3);
  CHECK(entries->at(0).state == State::stopped);
  CHECK(entries->at(1).state == State::error);
  CHECK(entries->at(2).state == State::unreachable);
  CHECK(Catalog(f.settings).find("aa").error().hint().find("a") != std::string::npos);
}
