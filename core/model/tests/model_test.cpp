// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <string>

#include "core/model/instance_record.hpp"
#include "core/model/logical_id.hpp"

using namespace vbd;

TEST_CASE("constants: full and short forms") {
  const auto loop = Constant::parse("loop", PluginKind::driver);
  REQUIRE(loop.ok());
  CHECK(loop->str() == "FD_LOOP");
  CHECK(loop->kind() == PluginKind::driver);
  CHECK(loop->file_name() == "fd-loop.so");
  CHECK(loop->short_name() == "loop");
  const auto full = Constant::parse("FT_QCOW", PluginKind::filetype);
  REQUIRE(full.ok());
  CHECK(full->kind() == PluginKind::filetype);
  const auto two = Constant::parse("my-own_2", PluginKind::driver);
  REQUIRE(two.ok());
  CHECK(two->str() == "FD_MY_OWN_2");
  CHECK(two->file_name() == "fd-my-own-2.so");
}

TEST_CASE("constants: what is refused") {
  for (const std::string bad : {"", "FD_", "FD__A", "FD_A_", "FD_1A", "FD_a", "FT_RAW", "Loop", "../x", "a b",
                                "_a", "a__b", "a;b", "\xff"}) {
    CAPTURE(bad);
    const auto parsed = Constant::parse(bad, PluginKind::driver);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().is(kBadConstant));
    CHECK(parsed.error().message().find('\n') == std::string::npos);
  }
  CHECK(Constant::parse(std::string(37, 'a'), PluginKind::driver).ok());
  CHECK_FALSE(Constant::parse(std::string(38, 'a'), PluginKind::driver).ok());
}

TEST_CASE("image paths") {
  CHECK(check_image_path("/srv/a b/sda").ok());
  CHECK(check_image_path("/srv/caf\xc3\xa9,x'\"/sda").ok());
  for (const std::string bad : {"", "sda", "/", "/a//b", "/a/", "/a/./b", "/a/../b", "/..", "/a\nb", "/a\x7f",
                                "/\xff", "/a\xc2\x85"}) {
    CAPTURE(bad);
    const auto checked = check_image_path(bad);
    REQUIRE_FALSE(checked.ok());
    CHECK(checked.error().is(kBadPath));
  }
  CHECK_FALSE(check_image_path("/" + std::string(4095, 'a')).ok());
  CHECK(check_image_path("/" + std::string(4094, 'a')).ok());
  CHECK(check_image_path("/ab\x01").error().message().find("0x01 at byte 3") != std::string::npos);
}

TEST_CASE("a logical_id as text") {
  const LogicalId id{*Constant::parse("loop", PluginKind::driver),
                     *Constant::parse("raw", PluginKind::filetype), "/p/a\"b\\c"};
  CHECK(id.str() == "[FD_LOOP, FT_RAW, \"/p/a\\\"b\\\\c\"]");
}

TEST_CASE("disk names and indexes are each other's inverse") {
  CHECK(disk_name(0) == "sda");
  CHECK(disk_name(25) == "sdz");
  CHECK(disk_name(26) == "sdaa");
  CHECK(disk_name(701) == "sdzz");
  for (std::size_t i = 0; i < kMaxDisks; ++i) {
    const auto parsed = parse_disk_name(disk_name(i));
    REQUIRE(parsed.has_value());
    CHECK(parsed->index == i);
    CHECK_FALSE(parsed->partition.has_value());
  }
  const auto partition = parse_disk_name("sdb3");
  REQUIRE(partition.has_value());
  CHECK(partition->index == 1);
  CHECK(partition->partition == 3u);
  for (const std::string bad :
       {"sd", "sda0", "sda01", "sdaaa", "hda", "sdA", "sda1x", "sda-1", "sda99999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_disk_name(bad).has_value());
  }
}

TEST_CASE("instance names") {
  for (const std::string good : {"instance1", "web.example.com", "A_b-c", "9"})
    CHECK(check_instance_name(good).ok());
  for (const std::string bad : {"", ".a", "-a", "a..b", "a/b", "a b", "a\n", "\xc3\xa9"}) {
    CAPTURE(bad);
    const auto checked = check_instance_name(bad);
    REQUIRE_FALSE(checked.ok());
    CHECK(checked.error().exit() == Exit::usage);
  }
  CHECK(check_instance_name(std::string(255, 'a')).ok());
  CHECK_FALSE(check_instance_name(std::string(256, 'a')).ok());
}
