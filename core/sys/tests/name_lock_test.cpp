// SPDX-License-Identifier: MIT
#include "core/sys/name_lock.hpp"

#include "core/sys/host.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using std::chrono::milliseconds;
using test::Scratch;

namespace {

std::string boot() {
  return boot_id()->substr(0, 8);
}

}  // namespace

TEST_CASE("name lock: held once, released by its end, seen through another descriptor") {
  const Scratch scratch;
  const Fd directory = scratch.open(), again = scratch.open();
  {
    auto lock = NameLock::acquire(directory.get(), scratch.path(), "node1", milliseconds(0));
    REQUIRE(lock.ok());
    CHECK(lock->held());
    CHECK(lock->seen_in(again.get()));
    CHECK(name_lock_owner(again.get()) == "node1");
    const auto other = NameLock::acquire(again.get(), scratch.path(), "node2", milliseconds(0));
    REQUIRE_FALSE(other.ok());
    CHECK(other.error().is(kLocked));
    CHECK(other.error().message().find("node1") != std::string::npos);
    REQUIRE(break_name_lock(again.get()).ok());
    CHECK_FALSE(lock->held());
  }
  CHECK(name_lock_owner(directory.get()) == std::nullopt);
  CHECK(list_dir(directory.get())->empty());
}

TEST_CASE("name lock: what a kill left of this node is taken over, of another node it is not") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  const auto leave = [&](const std::string &text) {
    REQUIRE(::symlinkat(text.c_str(), directory.get(), ".vbdkit-lease.lock") == 0);
  };
  for (const std::string &left : {std::string("00000000:1:1:node1"), boot() + ":999999999:1:node1"}) {
    leave(left);
    auto lock = NameLock::acquire(directory.get(), scratch.path(), "node1", milliseconds(0));
    REQUIRE_MESSAGE(lock.ok(), left);
    CHECK(lock->held());
  }
  for (const char *left : {"00000000:1:1:node2", "nonsense"}) {
    leave(left);
    CHECK_FALSE(NameLock::acquire(directory.get(), scratch.path(), "node1", milliseconds(0)).ok());
    REQUIRE(break_name_lock(directory.get()).ok());
  }
}
