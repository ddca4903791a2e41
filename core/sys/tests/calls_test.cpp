// SPDX-License-Identifier: MIT
// What must be on the disk before what, and what a second actor does in between.
#include "core/sys/calls.hpp"

#include "core/sys/bulk.hpp"
#include "core/sys/host_file.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/take_file.hpp"
#include "core/sys/tests/recorded_calls.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using test::RecordedCalls;
using test::Scratch;
using Names = std::vector<std::string>;

namespace {

/// A directory "d" in a scratch place.
struct Place {
  Place()
      : path(scratch.directory("d")), directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  void file(const std::string &name, std::string_view content = "old") const {
    scratch.file("d/" + name, content);
  }
  [[nodiscard]] Names names() const { return *list_dir(directory.get()); }
  [[nodiscard]] std::string content(const std::string &name) const {
    return *read_file_at(directory.get(), name, 100);
  }
  Scratch scratch;
  std::string path;
  Fd directory;
};

/// `errno_value` for calls that begin so.
RecordedCalls::Before failing(std::string beginning, int errno_value) {
  return [=](const std::string &call) { return call.starts_with(beginning) ? errno_value : 0; };
}

}  // namespace

TEST_CASE("calls: a replaced file is on the disk before it has its name, and its name before we go on") {
  const Place place;
  place.file("f");
  const RecordedCalls calls;
  REQUIRE(replace_file_at(place.directory.get(), "f", "new").ok());
  CHECK(calls.seen() == Names{"lock .vbd-f.tmp", "fsync .vbd-f.tmp", "rename .vbd-f.tmp f", "fsync d/"});
  CHECK(place.content("f") == "new");
}

TEST_CASE("calls: a new file is on the disk before it has its name, and its name before we go on") {
  const Place place;
  const RecordedCalls calls;
  REQUIRE(create_file_at(place.directory.get(), "f", "new").ok());
  CHECK(calls.seen() == Names{"lock .vbd-f.tmp", "fsync .vbd-f.tmp", "rename .vbd-f.tmp f", "fsync d/"});
}

TEST_CASE("calls: the same where a filesystem can't rename without replacing") {
  const Place place;
  place.file("taken");
  const RecordedCalls calls(failing("rename", EINVAL));
  REQUIRE(create_file_at(place.directory.get(), "f", "new").ok());
  CHECK(calls.seen() == Names{"lock .vbd-f.tmp", "fsync .vbd-f.tmp", "rename .vbd-f.tmp f",
                              "link .vbd-f.tmp f", "unlink .vbd-f.tmp", "fsync d/"});
  const auto refused = create_file_at(place.directory.get(), "taken", "new");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().is(kExists));
  CHECK(place.content("taken") == "old");
  CHECK(place.names() == Names{"f", "taken"});
}

TEST_CASE("calls: nothing is replaced by what could not be written out") {
  const Place place;
  place.file("f");
  const RecordedCalls calls(failing("fsync .vbd", EIO));
  CHECK_FALSE(replace_file_at(place.directory.get(), "f", "new").ok());
  CHECK_FALSE(create_file_at(place.directory.get(), "g", "new").ok());
  CHECK(place.names() == Names{"f"});
  CHECK(place.content("f") == "old");
}

TEST_CASE("calls: a name that could not be made durable is an error") {
  const Place place;
  place.file("f");
  const RecordedCalls calls(failing("fsync d/", EIO));
  CHECK_FALSE(replace_file_at(place.directory.get(), "f", "new").ok());
  CHECK_FALSE(create_file_at(place.directory.get(), "g", "new").ok());
  CHECK_FALSE(make_dir_at(place.directory.get(), "h", 0700).ok());
  CHECK_FALSE(make_dirs(place.path + "/i", 0700).ok());
  CHECK_FALSE(rename_dir_at(place.directory.get(), "h", "j").ok());
}

TEST_CASE("calls: an interrupted fsync is done again, one that a directory can't have is none") {
  const Place place;
  int asked = 0;
  const RecordedCalls calls([&](const std::string &call) {
    if (call == "fsync d/") return EINVAL;
    return call == "fsync f" && asked++ == 0 ? EINTR : 0;
  });
  place.file("f");
  const Fd file(::open((place.path + "/f").c_str(), O_RDWR | O_CLOEXEC));
  CHECK(sync_fd(file.get()).ok());
  CHECK(calls.count("fsync f") == 2);
  CHECK(sync_fd(place.directory.get()).ok());
}

TEST_CASE("calls: EINVAL of a file's fsync is an error") {
  const Place place;
  place.file("f");
  const Fd file(::open((place.path + "/f").c_str(), O_RDWR | O_CLOEXEC));
  const RecordedCalls calls(failing("fsync f", EINVAL));
  CHECK_FALSE(sync_fd(file.get()).ok());
}

TEST_CASE("calls: a new directory's name is made durable, each of several in its parent") {
  const Place place;
  const RecordedCalls calls;
  REQUIRE(make_dir_at(place.directory.get(), "a", 0700).ok());
  CHECK(calls.seen() == Names{"mkdir a", "fsync d/"});
  REQUIRE(make_dirs(place.path + "/b/c", 0700).ok());
  const Names all = calls.seen();
  REQUIRE(all.size() >= 6);
  CHECK(Names(all.end() - 4, all.end()) == Names{"mkdir b", "fsync d/", "mkdir c", "fsync b/"});
}

TEST_CASE("calls: a directory's other name is made durable") {
  const Place place;
  REQUIRE(make_dir_at(place.directory.get(), "a", 0700).ok());
  const RecordedCalls calls;
  REQUIRE(rename_dir_at(place.directory.get(), "a", "b").ok());
  CHECK(calls.seen() == Names{"rename a b", "fsync d/"});
}

TEST_CASE("calls: a moved file is made durable where it is before it is where it was") {
  const Place place;
  place.file("f");
  REQUIRE(make_dir_at(place.directory.get(), "to", 0700).ok());
  const Fd to(::open((place.path + "/to").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const RecordedCalls calls;
  REQUIRE(move_file_at(place.directory.get(), "f", to.get(), "g").ok());
  CHECK(calls.seen() == Names{"rename f g", "fsync to/", "fsync d/"});
}

TEST_CASE("calls: a move replaces nothing, also where a filesystem can't rename without replacing") {
  const Place place;
  place.file("f", "mine");
  place.file("g", "others'");
  for (const int errno_value : {0, EINVAL}) {
    const RecordedCalls calls(failing("rename", errno_value));
    CHECK_FALSE(move_file_at(place.directory.get(), "f", place.directory.get(), "g").ok());
    CHECK(place.content("f") == "mine");
    CHECK(place.content("g") == "others'");
  }
}

TEST_CASE("calls: what can't be removed is an error, what is gone already is not") {
  const Place place;
  place.file("f");
  {
    const RecordedCalls calls(failing("unlink", EIO));
    CHECK_FALSE(unlink_at(place.directory.get(), "f").ok());
  }
  CHECK(unlink_at(place.directory.get(), "missing").ok());
  CHECK(remove_dir_at(place.directory.get(), "missing").ok());
  CHECK_FALSE(remove_dir_at(place.directory.get(), "f").ok());
}

TEST_CASE("calls: a lock of a file that is no longer the directory's is no lock") {
  const Place place;
  bool removed = false;
  const RecordedCalls calls([&](const std::string &call) {
    // Whoever removed the directory's last instance was at work between our open and our lock.
    if (call == "lock .vbdkit.lock" && !removed) {
      removed = true;
      real_calls().unlinkat(place.directory.get(), ".vbdkit.lock", 0);
    }
    return 0;
  });
  const auto lock = OperationLock::acquire(place.directory.get(), place.path, std::chrono::milliseconds(500));
  REQUIRE(lock.ok());
  REQUIRE(removed);
  // Whoever comes now must find it locked.
  const auto other = OperationLock::acquire(place.directory.get(), place.path, std::chrono::milliseconds(0));
  REQUIRE_FALSE(other.ok());
  CHECK(other.error().is(kLocked));
}

TEST_CASE("calls: a temporary file that a clean-up removed before it was locked is made anew") {
  const Place place;
  bool removed = false;
  const RecordedCalls calls([&](const std::string &call) {
    if (call == "lock .vbd-f.tmp" && !removed) {
      removed = true;
      for (const auto &name : place.names()) real_calls().unlinkat(place.directory.get(), name.c_str(), 0);
    }
    return 0;
  });
  REQUIRE(create_file_at(place.directory.get(), "f", "new").ok());
  REQUIRE(removed);
  CHECK(place.content("f") == "new");
}

TEST_CASE("calls: names that a filesystem can't exchange are told from an error") {
  const Place place;
  place.file("f");
  place.file("g");
  for (const int errno_value : {EINVAL, EIO}) {
    const RecordedCalls calls(failing("rename", errno_value));
    const auto exchanged = exchange_at(place.directory.get(), "f", "g");
    CHECK(exchanged.ok() == (errno_value == EINVAL));
    if (exchanged) CHECK_FALSE(*exchanged);
  }
}

TEST_CASE("calls: a filetype's sync reaches the disk, and its error the filetype") {
  const Place place;
  place.file("f");
  const Fd fd(::open((place.path + "/f").c_str(), O_RDWR | O_CLOEXEC));
  const HostFile file(fd.get());
  int errno_value = 0;
  const RecordedCalls calls([&](const std::string &) { return errno_value; });
  CHECK(file.file()->sync(file.file()->ctx) == 0);
  CHECK(calls.seen() == Names{"fdatasync f"});
  errno_value = EIO;
  CHECK(file.file()->sync(file.file()->ctx) == -EIO);
}
