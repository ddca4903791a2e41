// SPDX-License-Identifier: MIT
#include <sys/stat.h>

#include "fixture.hpp"

using namespace vbd;
using namespace vbd::instance;
using vbd::test::Fixture;
using vbd::test::kMiB;
namespace fs = std::filesystem;

namespace {

struct Folder : Fixture {
  Folder() {
    if (ok) make("images/old");
  }
  void raw(const std::string &name, std::uint64_t size) const { make_raw("old/" + name, size); }
  [[nodiscard]] AddSpec reuse(const std::vector<std::string> &disks = {}) const {
    auto spec = Fixture::spec("instance2", "file:path=" + image("old") + ",driver=loop,reuse", disks);
    spec.os = "debian-etch";
    return spec;
  }
  /// Aborted, with each of `reasons` named and nothing changed.
  void aborted(const std::vector<std::string> &reasons, const std::vector<std::string> &disks = {}) {
    const auto before = snapshot();
    auto done = instance::add(manager(), reuse(disks), false);
    REQUIRE(!done.ok());
    CHECK(done.error().is(kReuse));
    for (const auto &reason : reasons) {
      CHECK_MESSAGE(done.error().message().find(reason) != std::string::npos,
                    (reason + " in " + done.error().message()));
    }
    CHECK(done.error().message().find('\n') == std::string::npos);
    CHECK(snapshot() == before);
  }
};

}  // namespace

TEST_CASE("reuse takes correctly named files with their sizes") {
  Folder f;
  NEED_FIXTURE(f, "reuse");
  test::spill(f.image("old/sda"), "guest data");
  fs::resize_file(f.image("old/sda"), 5 * kMiB);
  f.raw("sdb", 7 * kMiB);
  f.raw(".hidden", 1);
  fs::create_directory(f.image("old/lost+found"));
  REQUIRE(f.add(f.reuse({"0:size=5", "1:mode=ro"})) == "");
  const auto entry = f.find("instance2");
  REQUIRE(entry.record.disks.size() == 2);
  CHECK(entry.record.disks[0].size == 5 * kMiB);
  CHECK(entry.record.disks[1].mode == DiskMode::ro);
  CHECK(!entry.record.disks[1].created);
  CHECK(entry.record.os == "debian-etch");
  CHECK(test::slurp(f.image("old/sda")).starts_with("guest data"));
  REQUIRE(f.remove("instance2") == "");
  CHECK(!fs::exists(f.image("old/sda")));
  CHECK(fs::exists(f.image("old/.hidden")));
}

TEST_CASE("partitions keep their names") {
  Folder f;
  NEED_FIXTURE(f, "reuse partitions");
  f.raw("sda1", kMiB);
  f.raw("sda2", kMiB);
  f.raw("sdb", kMiB);
  REQUIRE(f.add(f.reuse()) == "");
  const auto disks = f.find("instance2").record.disks;
  REQUIRE(disks.size() == 3);
  CHECK(disks[1].vdev == "sda2");
  CHECK(disks[2].vdev == "sdb");
}

TEST_CASE("every file that is not valid is listed with its reason") {
  Folder f;
  NEED_FIXTURE(f, "reuse reasons");
  f.aborted({"no file named like a disk"});
  f.raw("sda", kMiB);
  fs::create_directory(f.image("old/sdb"));
  fs::create_symlink("sda", f.image("old/sdc"));
  REQUIRE(::mkfifo(f.image("old/sdd").c_str(), 0600) == 0);
  f.raw("sde", 1000);
  f.raw("sdg", 0);
  f.raw("disk.img", kMiB);
  f.aborted({"sdb: a directory", "sdc: a symbolic link", "sdd: not a regular", "sde: ", "512",
             "sdg: there is no sdf", "sdg: empty", "disk.img: not the name"});
}

TEST_CASE("numbering, sizes and names that don't fit") {
  Folder f;
  NEED_FIXTURE(f, "reuse numbering");
  SUBCASE("first") {
    f.raw("sdb", kMiB);
    f.aborted({"sdb: there is no sda"});
  }
  SUBCASE("disk and partition") {
    f.raw("sda", kMiB);
    f.raw("sda1", kMiB);
    f.aborted({"sda1: sda is there too"});
  }
  SUBCASE("gap in partitions") {
    f.raw("sda1", kMiB);
    f.raw("sda3", kMiB);
    f.aborted({"sda3: there is no sda2"});
  }
  SUBCASE("size") {
    f.raw("sda", 4 * kMiB);
    f.aborted({"sda: its size is 4194304"}, {"0:size=8"});
  }
  SUBCASE("count") {
    f.raw("sda", 4 * kMiB);
    f.aborted({"2 --disk given, 1 files found"}, {"0:size=4", "1:size=4"});
  }
  SUBCASE("hard link") {
    f.raw("sda", kMiB);
    fs::create_hard_link(f.image("old/sda"), f.image("other"));
    f.aborted({"sda: 2 names"});
  }
  SUBCASE("locked") {
    f.raw("sda", kMiB);
    auto fd = sys::open_image_anywhere(f.image("old/sda"), sys::Access::read);
    REQUIRE(fd.ok());
    REQUIRE(sys::lock_image(fd->get(), sys::ImageLockMode::stable, "sda").ok());
    f.aborted({"sda: "});
  }
  SUBCASE("other content") {
    test::spill(f.image("old/sda"),
                std::string("QFI\xfb\0\0\0\3", 8) + std::string(1016, '\0') + std::string(65536, '\0'));
    if (fs::exists(f.root + "/plugins/ft-qcow.so")) f.aborted({"sda: ", "FT_QCOW"});
  }
}
