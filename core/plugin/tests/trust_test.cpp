// SPDX-License-Identifier: MIT
#include "core/plugin/trust.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "core/plugin/tests/support.hpp"
#include "core/sys/errors.hpp"
#include "tests/support/skip.hpp"

namespace fs = std::filesystem;
using vbd::plugin::open_trusted;

namespace {

/// The message of a refusal; fails when it is none, or of another kind.
std::string refused(const std::string &path) {
  const auto opened = open_trusted(path);
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().is(vbd::plugin::kUntrusted));
  return opened.error().message();
}

bool has(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a file of ours in a clean chain is opened") {
  const TrustedDir dir;
  VBD_REQUIRE_OR_SKIP(dir.ok, "trust", "no directory with a trusted chain can be made");
  write_file(dir.path + "/a", "x");
  const auto file = open_trusted(dir.path + "/a");
  REQUIRE(file.ok());
  CHECK(file->get() >= 0);
  CHECK(open_trusted(dir.path + "/b").error().is(vbd::sys::kNotFound));
  CHECK(open_trusted(dir.path + "/none/b").error().is(vbd::sys::kNotFound));
}

TEST_CASE("who may write decides") {
  const TrustedDir dir;
  VBD_REQUIRE_OR_SKIP(dir.ok, "trust", "no directory with a trusted chain can be made");
  const std::string sub = dir.sub("sub"), file = sub + "/a";
  write_file(file, "x");
  REQUIRE(::chmod(file.c_str(), 0666) == 0);
  CHECK(has(refused(file), "is writable by others"));
  REQUIRE(::chmod(file.c_str(), 04755) == 0);
  CHECK(has(refused(file), "set-id"));
  REQUIRE(::chmod(file.c_str(), 0644) == 0);
  REQUIRE(::chmod(sub.c_str(), 0757) == 0);
  CHECK(has(refused(file), "sub is writable by others"));
  REQUIRE(::chmod(sub.c_str(), 01777) == 0);
  CHECK(has(refused(file), "sub is writable by others"));
  // Also where the file is not there: a directory that cannot be trusted is not passed over.
  CHECK(has(refused(sub + "/none"), "sub is writable by others"));
  REQUIRE(::chmod(sub.c_str(), 0755) == 0);
  CHECK(open_trusted(file).ok());
}

TEST_CASE("group and owner") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "trust-owner", "needs root to give files away");
  const TrustedDir dir;
  VBD_REQUIRE_OR_SKIP(dir.ok, "trust-owner", "no directory with a trusted chain can be made");
  const std::string sub = dir.sub("sub"), file = sub + "/a";
  write_file(file, "x");
  REQUIRE(::chmod(sub.c_str(), 0775) == 0);
  CHECK(open_trusted(file).ok());  // group 0
  REQUIRE(::chown(sub.c_str(), 0, 12) == 0);
  CHECK(has(refused(file), "sub is writable by its group 12"));
  REQUIRE(::chmod(sub.c_str(), 0755) == 0);
  CHECK(open_trusted(file).ok());
  REQUIRE(::chown(sub.c_str(), 1234, 0) == 0);
  CHECK(has(refused(file), "sub belongs to user 1234"));
  REQUIRE(::chown(sub.c_str(), 0, 0) == 0);
  REQUIRE(::chown(file.c_str(), 1234, 0) == 0);
  CHECK(has(refused(file), "belongs to user 1234"));
}

TEST_CASE("what kind of thing it is") {
  const TrustedDir dir;
  VBD_REQUIRE_OR_SKIP(dir.ok, "trust", "no directory with a trusted chain can be made");
  const std::string sub = dir.sub("sub");
  write_file(sub + "/a", "x");
  fs::create_symlink("a", sub + "/link");
  fs::create_directory_symlink("sub", dir.path + "/way");
  REQUIRE(::mkfifo((sub + "/fifo").c_str(), 0600) == 0);
  CHECK(has(refused(sub + "/link"), "is a symbolic link"));
  CHECK(has(refused(dir.path + "/way/a"), "way is a symbolic link"));
  CHECK(has(refused(sub + "/fifo"), "is not a regular file"));
  CHECK(has(refused(sub), "is not a regular file"));
}

TEST_CASE("only an absolute, normal path is looked at") {
  for (const char *path : {"", "a", "./a", "/", "/usr/../etc/passwd", "/usr//lib", "/usr/./lib", "/usr/"}) {
    CAPTURE(std::string(path));
    CHECK(has(refused(path), "is not an absolute path"));
  }
  CHECK(refused("/a/../b\n\x1b").find('\n') == std::string::npos);
}
