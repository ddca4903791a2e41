// SPDX-License-Identifier: MIT
#include "core/sys/writers.hpp"

#include <sys/xattr.h>

#include "core/sys/tests/scratch.hpp"

using namespace vbd::sys;
using vbd::sys::test::Scratch;

namespace {

constexpr std::uint16_t kUserObject = 1, kUser = 2, kGroupObject = 4, kGroup = 8, kMask = 16, kOther = 32;
constexpr std::uint32_t kNone = 0xffffffff, kNobody = 65534;

void put(std::string &out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

struct Entry {
  std::uint16_t tag, rights;
  std::uint32_t id = kNone;
};

std::string list_of(const std::vector<Entry> &entries) {
  std::string out;
  put(out, 2, 4);
  for (const Entry &entry : entries) {
    put(out, entry.tag, 2);
    put(out, entry.rights, 2);
    put(out, entry.id, 4);
  }
  return out;
}

/// rwx for root, what is given, r-x for the group and all others.
std::string with(const Entry &named, std::uint16_t mask = 7, std::uint16_t group = 5) {
  return list_of({{kUserObject, 7}, named, {kGroupObject, group}, {kMask, mask}, {kOther, 5}});
}

std::string says(std::uint32_t mode, std::uint32_t owner, std::uint32_t group, const AccessList &list = {},
                 std::uint32_t effective = 0) {
  const auto writer = judge_writers(mode, owner, group, effective, list);
  return writer ? writer->says : "";
}

std::string listed(const std::string &bytes, std::uint32_t group = 0, std::uint32_t effective = 0) {
  return says(0100775, effective, group, {AccessList::State::read, bytes}, effective);
}

}  // namespace

TEST_CASE("writers: owner and mode") {
  CHECK(says(0100644, 0, 0).empty());
  CHECK(says(0100644, 1000, 1000, {}, 1000).empty());
  CHECK(says(0100644, 0, 1000, {}, 1000).empty());
  CHECK(says(0100644, 1000, 0) == "belongs to user 1000, not to root");
  CHECK(says(0100644, 1001, 0, {}, 1000) == "belongs to user 1001, not to root or to user 1000");
  CHECK(says(0100664, 0, 0).empty());  // group 0 is root's own
  CHECK(says(0100664, 0, 12) == "is writable by its group 12");
  CHECK(says(0100646, 0, 0) == "is writable by others");
}

TEST_CASE("writers: an access list behind group 0 is seen") {
  CHECK(listed(with({kUser, 7, kNobody})) == "is writable by user 65534 through its access list");
  CHECK(listed(with({kGroup, 2, 12})) == "is writable by group 12 through its access list");
  CHECK(listed(with({kUser, 7, kNobody}, 5)).empty());  // the mask takes it away
  CHECK(listed(with({kUser, 5, kNobody})).empty());
  CHECK(listed(with({kUser, 7, 0})).empty());
  CHECK(listed(with({kGroup, 7, 0})).empty());
  CHECK(listed(with({kUser, 7, 1000}), 0, 1000).empty());
  CHECK(listed(with({kUser, 7, 1001}), 0, 1000) == "is writable by user 1001 through its access list");
  // The group bits of the mode are the mask: with a list, the group has what its own entry says.
  CHECK(listed(with({kUser, 7, 0}, 7, 5), 12).empty());
  CHECK(listed(with({kUser, 7, 0}, 7, 7), 12) == "is writable by its group 12");
  CHECK(listed(list_of({{kUserObject, 7}, {kGroupObject, 7}, {kOther, 5}}), 12) ==
        "is writable by its group 12");
}

TEST_CASE("writers: a list that can't be read or understood counts as a writer") {
  CHECK(says(0100644, 0, 0, {AccessList::State::unreadable, {}}) == "has an access list that can't be read");
  const std::string good = with({kUser, 7, kNobody});
  CHECK(listed("") == "has an access list that is damaged");
  CHECK(listed(good.substr(0, good.size() - 1)) == "has an access list that is damaged");
  std::string version = good;
  version[0] = 3;
  CHECK(listed(version) == "has an access list that is damaged");
  CHECK(listed(with({64, 2, 7})) == "has an access list with an entry of an unknown kind, 64");
  AccessList nfs4;
  nfs4.other_kind = true;
  CHECK(says(0100664, 0, 0, nfs4) == "may be writable by others through its NFSv4 list");
  CHECK(says(0100644, 0, 0, nfs4).empty());
}

TEST_CASE("writers: of open files, also by their path alone") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "writers", "needs root to set access lists");
  const Scratch scratch;
  const std::string directory = scratch.directory("d");
  for (const int flags : {O_RDONLY, O_PATH}) {
    CAPTURE(flags);
    const Fd fd(::open(directory.c_str(), flags | O_CLOEXEC));
    CHECK_FALSE(other_writer(fd.get()));
    const std::string list = with({kUser, 7, kNobody});
    if (::setxattr(directory.c_str(), "system.posix_acl_access", list.data(), list.size(), 0) != 0) {
      MESSAGE("SKIP writers: this filesystem has no access lists");
      return;
    }
    const auto writer = other_writer(fd.get());
    REQUIRE(writer);
    CHECK(writer->says == "is writable by user 65534 through its access list");
    CHECK(writer->mend == "setfacl -b");
    REQUIRE(::removexattr(directory.c_str(), "system.posix_acl_access") == 0);
  }
}

TEST_CASE("writers: a directory's default list gives nothing away of what is made below it") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "writers_default", "needs root to set access lists");
  const Scratch scratch;
  const std::string directory = scratch.directory("d");
  const std::string list = with({kUser, 7, kNobody});
  if (::setxattr(directory.c_str(), "system.posix_acl_default", list.data(), list.size(), 0) != 0) {
    MESSAGE("SKIP writers_default: this filesystem has no access lists");
    return;
  }
  const Fd at(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  CHECK_FALSE(other_writer(at.get()));
  REQUIRE(replace_file_at(at.get(), "record", "x", 0644));
  REQUIRE(replace_file_at(at.get(), "private", "x"));
  REQUIRE(make_dir_at(at.get(), "below", 0755));
  REQUIRE(make_dir_at(at.get(), "own", 0700));
  for (const char *name : {"record", "private", "below", "own"}) {
    CAPTURE(name);
    const Fd fd(::openat(at.get(), name, O_RDONLY | O_CLOEXEC));
    CHECK(::fgetxattr(fd.get(), "system.posix_acl_access", nullptr, 0) > 0);  // inherited, but masked
    CHECK_FALSE(other_writer(fd.get()));
  }
}
