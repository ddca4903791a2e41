// SPDX-License-Identifier: MIT
// What somebody who can write beside the data writes into instance.yaml, and what root does not do because of
// it.
#include <sys/stat.h>

#include "fixture.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/witness.hpp"

using namespace vbd;
using namespace vbd::instance;
using vbd::test::Fixture;
using vbd::test::kMiB;
namespace fs = std::filesystem;

namespace {

std::uint32_t mode_of(const std::string &path) {
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  return st.st_mode & 07777u;
}

std::uint64_t inode_of(const std::string &path) {
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  return st.st_ino;
}

struct Noted : Fixture {
  /// web1 with one disk, and an operation in its record that no verb of this host began.
  void note(const std::string &verb, const std::map<std::string, std::string> &details) {
    InstanceRecord record = find("web1").record;
    record.operation = OperationRecord{verb, "2026-01-31T12:00:00Z", {}, false, details};
    test::spill(image("web1/instance.yaml"), config::write_instance(record));
  }
  std::string settle_by(const std::string &name = "web1") {
    auto settled = find_settled(manager(), name, false);
    return settled ? "" : settled.error().message();
  }
  std::string adoption(const std::string &file, std::uint32_t mode, const std::string &source) {
    return std::to_string(inode_of(file)) + " " + std::to_string(mode) + " 0 0 " + source;
  }
};

}  // namespace

TEST_CASE("a note beside the data moves no disk away and makes none set-user-ID root") {
  Noted f;
  NEED_FIXTURE(f, "foreign adopt note");
  REQUIRE(f.add(f.spec("web1", "file:driver=loop", {"0:size=1"})) == "");
  const std::string disk = f.image("web1/sda"), shell = f.image("rootshell");
  f.note("modify", {{"phase", "making"}, {"adopt.sda", f.adoption(disk, 04755, shell)}});
  const std::string said = f.settle_by();
  CHECK(said.find("knows nothing of that; nothing was changed") != std::string::npos);
  CHECK(!fs::exists(shell));
  CHECK(mode_of(disk) == 0600);
  // A name that leads out of the directory is no disk.
  f.note("modify", {{"phase", "making"}, {"adopt.../other", f.adoption(disk, 0600, shell)}});
  f.make_raw("other", kMiB);
  CHECK(f.settle_by().find("no name of a disk") != std::string::npos);
  CHECK(fs::exists(f.image("other")));
}

TEST_CASE("what this host wrote down is given back, without set-id and execute bits") {
  Noted f;
  NEED_FIXTURE(f, "witnessed adopt note");
  REQUIRE(f.add(f.spec("web1", "file:driver=loop", {"0:size=1"})) == "");
  const std::string disk = f.make_raw("web1/sdb", kMiB), source = f.image("old.img");
  const InstanceRecord record = f.find("web1").record;
  struct stat st {};
  REQUIRE(::stat(disk.c_str(), &st) == 0);
  const Witness moved{"sdb", source, {st.st_dev, st.st_ino}, 04751, 0, 0};
  REQUIRE(write_witness(f.settings, record.uuid, record.directory, {moved}).ok());
  f.note("modify", {{"phase", "making"}, {"adopt.sdb", f.adoption(disk, 0777, source)}});
  CHECK(f.settle_by() == "");
  CHECK(!fs::exists(disk));
  REQUIRE(fs::exists(source));
  CHECK(mode_of(source) == 0640);
  CHECK(fs::is_empty(f.settings.state_dir + "/operations"));
}

TEST_CASE("an original deleted after a killed clone-adopt does not block its instance") {
  Noted f;
  NEED_FIXTURE(f, "clone without original");
  REQUIRE(f.add(f.spec("web1", "file:driver=loop", {"0:size=1"})) == "");
  const std::string clone = f.make_raw("web1/sdb", kMiB), original = f.make_raw("old.img", kMiB);
  f.note("modify", {{"phase", "making"}, {"adopt.sdb", f.adoption(original, 0600, original)}});
  fs::remove(original);
  CHECK(f.settle_by() == "");
  CHECK(fs::exists(clone));  // perhaps all that is left of the data
  CHECK(!f.find("web1").record.operation);
  CHECK(f.find("web1").record.disks.size() == 1);
  // While the original is there, the clone is this operation's own and goes.
  f.make_raw("old.img", kMiB);
  f.note("modify", {{"phase", "making"}, {"adopt.sdb", f.adoption(original, 0600, original)}});
  CHECK(f.settle_by() == "");
  CHECK(!fs::exists(clone));
  CHECK(fs::exists(original));
}

TEST_CASE("a program with a set-id bit is adopted by nobody") {
  Noted f;
  NEED_FIXTURE(f, "set-id image");
  const std::string source = f.make_raw("old.img", kMiB);
  ::chmod(source.c_str(), 04755);
  CHECK(f.add(f.spec("web1", "file:driver=loop", {"0:adopt=" + source})).find("set-user-ID") !=
        std::string::npos);
  CHECK(fs::exists(source));
}

TEST_CASE("a note of a rename takes no name from another instance") {
  Noted f;
  NEED_FIXTURE(f, "foreign rename note");
  REQUIRE(f.add(f.spec("web1", "file:driver=loop", {"0:size=1"})) == "");
  REQUIRE(f.add(f.spec("victim", "file:driver=loop", {"0:size=1"})) == "");
  // Somebody's directory that bears the victim's UUID.
  f.make("images/evil");
  InstanceRecord record = f.find("victim").record;
  record.name = "evil";
  record.directory = f.image("evil");
  record.operation = OperationRecord{"rename",
                                     "2026-01-31T12:00:00Z",
                                     {},
                                     false,
                                     {{"from", "victim"},
                                      {"to", "evil"},
                                      {"from_directory", f.image("victim")},
                                      {"to_directory", f.image("evil")}}};
  test::spill(f.image("evil/instance.yaml"), config::write_instance(record));
  CHECK(f.remove("evil").find("knows nothing of that") != std::string::npos);
  REQUIRE(f.knows("victim"));
  CHECK(f.find("victim").state == State::stopped);
}
