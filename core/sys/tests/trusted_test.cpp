// SPDX-License-Identifier: MIT
#include "core/sys/trusted.hpp"

#include "core/sys/tests/scratch.hpp"

using namespace vbd::sys;
using vbd::sys::test::Scratch;
namespace fs = std::filesystem;

namespace {

constexpr uid_t kNobody = 65534;

bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

std::string refused(const vbd::Result<Fd> &opened) {
  REQUIRE_FALSE(opened.ok());
  CHECK_MESSAGE(opened.error().is(kUntrustedPlace), opened.error().message());
  return opened.error().message();
}

}  // namespace

TEST_CASE("trusted: a sticky directory on the way is fine where its entry is ours") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "trusted", "needs root to give files away");
  const Scratch scratch;
  const std::string sticky = scratch.directory("tmp", 01777), file = scratch.file("tmp/a", "x");
  CHECK(open_trusted_file(file, kRunDirectory).ok());
  TrustWords strict = kRunDirectory;
  strict.sticky = false;
  CHECK(has(refused(open_trusted_file(file, strict)), "is writable by others"));
  REQUIRE(::chown(file.c_str(), kNobody, 0) == 0);
  CHECK(has(refused(open_trusted_file(file, kRunDirectory)), "belongs to user 65534"));
  CHECK(has(refused(open_trusted_directory(sticky, kRunDirectory)), "is writable by others"));
}

TEST_CASE("trusted: links count with the directories that hold them, and what they lead to") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "trusted_links", "needs root to give files away");
  const Scratch scratch;
  scratch.directory("real");
  scratch.file("real/a", "x");
  fs::create_directory_symlink("real", scratch / "way");
  fs::create_symlink("../way/a", scratch / "real/link");
  CHECK(open_trusted_file(scratch / "way/a", kRunDirectory).ok());
  CHECK(open_trusted_file(scratch / "way/link", kRunDirectory).ok());
  CHECK(open_trusted_directory(scratch / "way", kRunDirectory).ok());
  TrustWords strict = kRunDirectory;
  strict.follow_links = false;
  CHECK(has(refused(open_trusted_file(scratch / "way/a", strict)), "way is a symbolic link"));
  CHECK(has(refused(open_trusted_file(scratch / "real/link", strict)), "is a symbolic link"));
  scratch.directory("tmp", 01777);
  fs::create_symlink(scratch / "real/a", scratch / "tmp/theirs");
  REQUIRE(::lchown((scratch / "tmp/theirs").c_str(), kNobody, 0) == 0);
  CHECK(has(refused(open_trusted_file(scratch / "tmp/theirs", kRunDirectory)), "is a link of user 65534"));
  fs::create_directory_symlink(scratch.path() + "/tmp", scratch / "to-open");
  CHECK(has(refused(open_trusted_directory(scratch / "to-open", kRunDirectory)), "is writable by others"));
  fs::create_symlink("loop", scratch / "loop");
  CHECK(open_trusted_file(scratch / "loop", kRunDirectory).error().is(kSymlink));
}

TEST_CASE("trusted: nothing is made below a directory of others") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "trusted_make", "needs root to give files away");
  const Scratch scratch;
  const std::string open = scratch.directory("open", 0777);
  CHECK(has(refused(make_trusted_directory(open + "/run/x", 0755, kRunDirectory)), "open is writable by"));
  CHECK_FALSE(fs::exists(open + "/run"));
  const auto made = make_trusted_directory(scratch / "a/b", 0700, kRunDirectory);
  REQUIRE_MESSAGE(made.ok(), made.error().message());
  CHECK(fs::is_directory(scratch / "a/b"));
  CHECK(make_trusted_directory(scratch / "a/b", 0700, kRunDirectory).ok());
  CHECK(open_trusted_directory(scratch / "c", kRunDirectory).error().is(kNotFound));
}

TEST_CASE("trusted: one file of a trusted directory") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "trusted_at", "needs root to give files away");
  const Scratch scratch;
  const std::string file = scratch.file("a", "hello");
  const auto at = open_trusted_directory(scratch.path(), kRunDirectory);
  REQUIRE(at);
  const auto read = [&](const char *name, std::size_t limit = 100) {
    return read_trusted_at(at->get(), name, scratch / name, limit, kRunDirectory);
  };
  CHECK(*read("a") == "hello");
  CHECK(read("a", 4).error().is(kIo));
  CHECK(read("none").error().is(kNotFound));
  fs::create_symlink("a", scratch / "link");
  CHECK(has(read("link").error().message(), "is a symbolic link"));
  REQUIRE(::chmod(file.c_str(), 0666) == 0);
  CHECK(has(read("a").error().message(), "is writable by others"));
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  REQUIRE(::chown(file.c_str(), kNobody, 0) == 0);
  CHECK(read("a").error().is(kUntrustedPlace));
}
