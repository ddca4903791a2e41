// SPDX-License-Identifier: MIT
#include "core/sys/spare.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "core/sys/files.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using test::Scratch;

namespace {

/// A filesystem with nothing else on it, which can be full.
class Small {
 public:
  Small() { mounted_ = ::mount("none", scratch_.path().c_str(), "tmpfs", 0, "size=256k") == 0; }
  ~Small() {
    if (mounted_) ::umount2(scratch_.path().c_str(), MNT_DETACH);
  }
  [[nodiscard]] bool there() const { return mounted_; }
  [[nodiscard]] Fd open() const { return Fd(::open(scratch_.path().c_str(), O_RDONLY | O_DIRECTORY)); }
  void fill() const {
    const Fd fd(::open((scratch_ / "filler").c_str(), O_WRONLY | O_CREAT, 0600));
    const std::string page(4096, 'x');
    while (::write(fd.get(), page.data(), page.size()) > 0) continue;
  }
  [[nodiscard]] std::string at(const char *name) const { return scratch_ / name; }

 private:
  Scratch scratch_;
  bool mounted_ = false;
};

}  // namespace

TEST_CASE("spare: a record is replaced again and again on a full filesystem") {
  const Small small;
  if (!small.there()) {
    MESSAGE("SKIP spare: needs the right to mount");
    return;
  }
  const Fd directory = small.open();
  REQUIRE(replace_record_at(directory.get(), "record", "old", 0644));
  CHECK(file_info_at(directory.get(), ".vbdkit.spare")->allocated >= 16384);
  small.fill();
  CHECK(replace_file_at(directory.get(), "record", "new").error().is(kNoSpace));
  for (int i = 0; i < 20; ++i) {
    const std::string content(static_cast<std::size_t>(100 + i * 190), static_cast<char>('a' + i));
    REQUIRE(replace_record_at(directory.get(), "record", content, 0644));
    CHECK(*read_record_at(directory.get(), "record", 8192) == content);
    CHECK((file_info_at(directory.get(), "record")->mode & 07777) == 0644);
    small.fill();
  }
  // Larger than the spare ever was, or a name that is not there: refused, and all is as before.
  const std::string before = *read_record_at(directory.get(), "record", 8192);
  CHECK(replace_record_at(directory.get(), "record", std::string(100000, 'x')).error().is(kNoSpace));
  CHECK(*read_record_at(directory.get(), "record", 8192) == before);
  CHECK(replace_record_at(directory.get(), "other", "x").error().is(kNoSpace));
  CHECK(keep_spare(directory.get(), 100000).error().is(kNoSpace));
  CHECK(*list_dir(directory.get()) == std::vector<std::string>{".vbdkit.spare", "filler", "record"});
  REQUIRE(drop_spares(directory.get()));
  small.fill();
  CHECK(keep_spare(directory.get(), 100).error().is(kNoSpace));
  CHECK(*list_dir(directory.get()) == std::vector<std::string>{"filler", "record"});
}

TEST_CASE("spare: what somebody put at its place is never written") {
  const Small small;
  if (!small.there()) return;
  const Fd directory = small.open();
  REQUIRE(create_file_at(directory.get(), "record", "old"));
  REQUIRE(create_file_at(directory.get(), "victim", "victim"));
  SUBCASE("a link") {
    REQUIRE(::symlinkat("victim", directory.get(), ".vbdkit.spare") == 0);
  }
  SUBCASE("another name of a file") {
    REQUIRE(::linkat(directory.get(), "victim", directory.get(), ".vbdkit.spare", 0) == 0);
  }
  SUBCASE("a pipe") {
    REQUIRE(::mkfifoat(directory.get(), ".vbdkit.spare", 0600) == 0);
  }
  CHECK(replace_record_at(directory.get(), "record", "new").ok());
  small.fill();
  CHECK(replace_record_at(directory.get(), "record", "newer").error().is(kNoSpace));
  CHECK(*read_file(small.at("record"), 10) == "new");
  CHECK(*read_file(small.at("victim"), 10) == "victim");
}

TEST_CASE("spare: names") {
  CHECK(is_spare(".vbdkit.spare"));
  CHECK(is_spare(lock_spare_name("node1")));
  CHECK_FALSE(is_spare(".vbdkit.spares"));
  CHECK_FALSE(is_spare(".vbdkit.lock"));
}
