// SPDX-License-Identifier: MIT
#include "core/sys/host.hpp"

#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;

TEST_CASE("facts about this host") {
  CHECK_FALSE(host_name().empty());
  const auto boot = boot_id();
  REQUIRE(boot);
  CHECK(boot->size() == 36);
  CHECK(*boot == *boot_id());
  CHECK(is_root() == (::geteuid() == 0));
  CHECK(install_prefix().starts_with('/'));
  const std::string now = now_rfc3339();
  CHECK(now.size() == 20);
  CHECK(now.at(10) == 'T');
  CHECK(now.back() == 'Z');
}

TEST_CASE("UUIDs are random, version 4") {
  const auto a = new_uuid(), b = new_uuid();
  REQUIRE(a);
  CHECK(*a != *b);
  CHECK(a->size() == 36);
  CHECK(a->at(14) == '4');
  CHECK(std::string("89ab").find(a->at(19)) != std::string::npos);
  CHECK(a->find_first_not_of("0123456789abcdef-") == std::string::npos);
}

TEST_CASE("a process is known by its start time") {
  const auto mine = process_start_time(::getpid());
  REQUIRE(mine);
  CHECK(*mine > 0);
  CHECK(mine == process_start_time(::getpid()));
  test::OtherProcess other([] { return true; });
  CHECK(process_start_time(other.pid()).has_value());
  const pid_t pid = other.pid();
  other.kill();
  CHECK_FALSE(process_start_time(pid).has_value());
}
