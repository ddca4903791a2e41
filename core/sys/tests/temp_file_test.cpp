// SPDX-License-Identifier: MIT
#include "core/sys/locks.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using test::OtherProcess;
using test::Scratch;
using Names = std::vector<std::string>;

TEST_CASE("a new file appears whole, under its name alone") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  for (const bool sync : {true, false}) {
    const std::string name = sync ? "synced" : "unsynced";
    auto temp = TempFile::create(directory.get(), name);
    REQUIRE(temp);
    CHECK(temp->temp_name().starts_with(".vbd-" + name + "."));
    CHECK(temp->temp_name().ends_with(".tmp"));
    CHECK_FALSE(std::filesystem::exists(scratch / name));
    REQUIRE(::write(temp->fd(), "data", 4) == 4);
    const auto fd = std::move(*temp).publish_new(sync);
    REQUIRE(fd);
    CHECK(*read_file(scratch / name, 10) == "data");
    CHECK((file_info(fd->get())->mode & 07777) == 0600);
    CHECK(lock_image(fd->get(), ImageLockMode::exclusive, name));
  }
  CHECK(*list_dir(directory.get()) == Names{"synced", "unsynced"});
}

TEST_CASE("a taken name is not replaced, and nothing is left") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  scratch.file("f", "old");
  {
    auto temp = TempFile::create(directory.get(), "f");
    REQUIRE(temp);
    const auto fd = std::move(*temp).publish_new();
    REQUIRE_FALSE(fd);
    CHECK(fd.error().is(kExists));
    CHECK(fd.error().exit() == Exit::busy);
  }
  CHECK(*read_file(scratch / "f", 10) == "old");
  CHECK(*list_dir(directory.get()) == Names{"f"});
}

TEST_CASE("a dropped temporary file goes, a moved one stays until its new owner drops it") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  {
    auto temp = TempFile::create(directory.get(), "f");
    REQUIRE(temp);
    {
      const TempFile moved = std::move(*temp);
      CHECK(list_dir(directory.get())->size() == 1);
    }
    CHECK(list_dir(directory.get())->empty());
  }
  CHECK(list_dir(directory.get())->empty());
}

TEST_CASE("owner and mode are exact, whatever the umask") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  const mode_t before = ::umask(077);
  Ownership ownership;
  ownership.mode = 0664;
  if (::geteuid() == 0) ownership.gid = 65534;
  auto temp = TempFile::create(directory.get(), "f", ownership);
  ::umask(before);
  REQUIRE(temp);
  const auto info = file_info(temp->fd());
  CHECK((info->mode & 07777) == 0664);
  if (::geteuid() == 0) CHECK(info->gid == 65534);
}

TEST_CASE("names that can't be") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  for (const char *name : {"", ".", "..", "a/b", "../x"})
    CHECK_FALSE(TempFile::create(directory.get(), name).ok());
  const std::string longest(255, 'n');
  auto temp = TempFile::create(directory.get(), longest);
  REQUIRE(temp);
  CHECK(std::move(*temp).publish_new().ok());
  CHECK(*list_dir(directory.get()) == Names{longest});
}

TEST_CASE("what a killed run left is told from what a living one writes") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  std::vector<TempFile> kept;
  OtherProcess writer([&] {
    auto temp = TempFile::create(directory.get(), "sda");
    if (!temp) return false;
    kept.push_back(std::move(*temp));
    return true;
  });
  REQUIRE(writer.ready);
  const auto mine = TempFile::create(directory.get(), "sdb");
  REQUIRE(mine);
  scratch.file(".vbd-.tmp");
  scratch.file(".vbd-notes.tmp");
  scratch.file(".vbd-x.0123456789abcdeg.tmp");
  scratch.directory(".vbd-x.0123456789abcdef.tmp");
  REQUIRE(::symlink("x", (scratch / ".vbd-l.0123456789abcdef.tmp").c_str()) == 0);
  CHECK(stale_temp_files(directory.get())->empty());
  writer.kill();
  const auto stale = stale_temp_files(directory.get());
  REQUIRE(stale->size() == 1);
  CHECK(stale->front().starts_with(".vbd-sda."));
}
