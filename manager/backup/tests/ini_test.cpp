// SPDX-License-Identifier: MIT
#include "manager/backup/ini.hpp"

#include <doctest/doctest.h>

#include "core/base/text.hpp"

using namespace vbd;
using namespace vbd::backup;

namespace {

Ini read(const std::string &text) {
  auto ini = Ini::parse(text, "c.ini");
  if (!ini) FAIL(ini.error().message());
  return *std::move(ini);
}

std::string refused(const std::string &text) {
  auto ini = Ini::parse(text, "c.ini");
  REQUIRE_FALSE(ini.ok());
  CHECK(ini.error().is(kDamaged));
  return ini.error().message();
}

}  // namespace

TEST_CASE("what Python's ConfigParser reads") {
  const Ini ini = read(
      "# comment\n; another\n\n[export]\nversion = 0\nKey:v1\nSpaced key  =  a = b : c  \nempty =\n"
      "pct = 100%%\nlong = one\n  two\n\n  three\nno = NoNe # not a comment\nunset = None\n\n[b]\r\nx = "
      "1\r\n");
  CHECK(ini.get("export", "version") == "0");
  CHECK(ini.get("export", "key") == "v1");
  CHECK(ini.get("export", "spaced key") == "a = b : c");
  CHECK(ini.get("export", "empty") == "");
  CHECK(ini.get("export", "pct") == "100%");
  // Python keeps the empty line in between as one more "\n"; nobody writes that into an export.
  CHECK(ini.get("export", "long") == "one\ntwo\nthree");
  CHECK(ini.get("export", "no") == "NoNe # not a comment");
  CHECK_FALSE(ini.get("export", "unset").has_value());
  CHECK_FALSE(ini.get("export", "x").has_value());
  CHECK(ini.get("b", "x") == "1");
  CHECK(ini.section("nothing") == nullptr);
}

TEST_CASE("what it refuses") {
  CHECK(refused("a = 1\n") == "c.ini:1: a value before the first [SECTION]");
  CHECK(refused("[a]\nx = 1\nX = 2\n") == "c.ini:3: 'x' stands twice");
  CHECK(refused("[a]\n[b]\n[a]\n") == "c.ini:3: a second section [a]");
  CHECK(refused("[a]\nword\n") == "c.ini:2: expected KEY = VALUE");
  CHECK(refused("[a]\n= 1\n") == "c.ini:2: expected KEY = VALUE");
  CHECK(refused("[]\n") == "c.ini:1: expected [SECTION]");
  CHECK(refused("[a]\nx = 5%\n").find("[a] x: a '%'") != std::string::npos);
  CHECK(refused("[a]\nx = %(y)s\n").find("[a] x: a '%'") != std::string::npos);
}

TEST_CASE("what is written comes back") {
  Ini ini;
  ini.add("a", "x", "100% [b] = ; #");
  ini.add("a", "empty", "");
  ini.add_section("none here");
  auto text = ini.str();
  REQUIRE(text.ok());
  CHECK(*text == "[a]\nx = 100%% [b] = ; #\nempty = \n\n[none here]\n\n");
  CHECK(read(*text).get("a", "x") == "100% [b] = ; #");
  for (const auto &[key, value] : {std::pair<std::string, std::string>{"x", "a\nb"},
                                   {"x", " a"},
                                   {"x", "a\t"},
                                   {"X", "a"},
                                   {"a:b", "a"},
                                   {"", "a"},
                                   {"#a", "a"},
                                   {"x", "\xff"}}) {
    Ini bad;
    bad.add("a", key, value);
    CHECK(bad.str().error().is(kCannotCarry));
  }
}

TEST_CASE("a section that a terminal can't show is refused in one line") {
  const auto ini = Ini::parse("[expo\x8ft\x1b]\na = 1\n", "config.ini");
  REQUIRE(ini.ok());
  const auto text = ini->str();
  REQUIRE_FALSE(text.ok());
  CHECK(text.error().is(kCannotCarry));
  CHECK(text::is_printable_utf8(text.error().message()));
}
