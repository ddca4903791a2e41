// SPDX-License-Identifier: MIT
#include "core/plugin/options.hpp"

#include <doctest/doctest.h>

#include <vbdkit/plugin.h>

using namespace vbd::plugin;

namespace {

OptionInfo option(std::uint32_t type, std::uint64_t min = 0, std::uint64_t max = 0) {
  OptionInfo info;
  info.name = "opt";
  info.type = type;
  info.min = min;
  info.max = max;
  if (type == VBD_T_ENUM) info.choices = "auto|qsd";
  return info;
}

/// The checked value, or the error's message.
std::string check(const OptionInfo &info, const std::string &value) {
  const auto result = check_option(info, value, "f.yaml:3:5");
  if (result) return *result;
  CHECK(result.error().is(kBadOption));
  return result.error().message();
}

}  // namespace

TEST_CASE("values take the form that a plugin gets") {
  CHECK(check(option(VBD_T_BOOL), "Yes") == "true");
  CHECK(check(option(VBD_T_BOOL), "off") == "false");
  CHECK(check(option(VBD_T_U64), "0") == "0");
  CHECK(check(option(VBD_T_U64), "18446744073709551615") == "18446744073709551615");
  CHECK(check(option(VBD_T_U64), "007") == "7");
  CHECK(check(option(VBD_T_SIZE), "64K") == "65536");
  CHECK(check(option(VBD_T_SIZE, 512, 2 << 20), "2M") == "2097152");
  CHECK(check(option(VBD_T_STRING), "a b") == "a b");
  CHECK(check(option(VBD_T_PATH), "/a") == "/a");
  CHECK(check(option(VBD_T_ENUM), "qsd") == "qsd");
}

TEST_CASE("a wrong value is named with its place and what was expected") {
  CHECK(check(option(VBD_T_BOOL), "maybe") == "f.yaml:3:5: option opt: expected bool, found 'maybe'");
  CHECK(check(option(VBD_T_U64, 1, 9), "10") == "f.yaml:3:5: option opt: expected number 1..9, found '10'");
  CHECK(check(option(VBD_T_U64, 1, 9), "0") == "f.yaml:3:5: option opt: expected number 1..9, found '0'");
  CHECK(check(option(VBD_T_SIZE, 512, 2 << 20), "4M") ==
        "f.yaml:3:5: option opt: expected size 512..2097152, found '4M'");
  CHECK(check(option(VBD_T_ENUM), "Auto") == "f.yaml:3:5: option opt: expected auto|qsd, found 'Auto'");
  CHECK(check(option(VBD_T_PATH), "a") == "f.yaml:3:5: option opt: expected absolute path, found 'a'");
  CHECK(check(option(VBD_T_STRING), "a\x1b[0m\nb") ==
        "f.yaml:3:5: option opt: expected text, found 'a\\x1b[0m\\x0ab'");
  for (const char *text : {"", "-1", "+1", "1x", " 1", "18446744073709551616", "0x10"}) {
    CAPTURE(std::string(text));
    CHECK(check(option(VBD_T_U64), text).find("expected number") != std::string::npos);
  }
}

TEST_CASE("a secret is not shown") {
  OptionInfo info = option(VBD_T_U64, 1, 5);
  info.secret = true;
  CHECK(check(info, "4711").find("4711") == std::string::npos);
}

TEST_CASE("an unknown option comes with the known ones, nearest first") {
  std::vector<OptionInfo> table{option(VBD_T_BOOL), option(VBD_T_BOOL)};
  table[0].name = "direct_io";
  table[1].name = "backend";
  const auto result = check_named(table, "bakend", "x", "f.yaml:3:5: plugins.FD_X");
  REQUIRE_FALSE(result.ok());
  CHECK(result.error().is(kUnknownOption));
  CHECK(result.error().message() ==
        "f.yaml:3:5: plugins.FD_X: unknown option bakend; there are backend, direct_io");
  CHECK(result.error().hint() == "did you mean backend?");
  CHECK(check_named(table, "backend", "on", "x").value() == "true");
  CHECK(check_named({}, "a", "b", "x").error().message() == "x: unknown option a; there are none");
}
