// SPDX-License-Identifier: MIT
#include "cli/parser.hpp"

#include <doctest/doctest.h>

#include "cli/tests/toy.hpp"

using namespace vbd;
using namespace vbd::cli;
using List = std::vector<std::string>;

namespace {

Result<Arguments> parse_add(List rest) {
  rest.insert(rest.begin(), {"--dialect", "xl"});
  return parse_verb(toy::kNouns[0], toy::kThingVerbs[0], rest);
}

Arguments added(List rest) {
  auto parsed = parse_add(rest);
  if (!parsed) MESSAGE(parsed.error().message());
  REQUIRE(parsed.ok());
  return *std::move(parsed);
}

std::string refused(List rest) {
  const auto parsed = parse_add(rest);
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.error().exit() == Exit::usage);
  CHECK(parsed.error().message().find('\n') == std::string::npos);
  CHECK(parsed.error().hint() == "see vbd thing add --help");
  return parsed.error().message();
}

}  // namespace

TEST_CASE("options take one value each, arguments the rest") {
  const Arguments args =
      added({"--disk", "0:size=5G", "--disk", "1:size=10G,mode=ro", "name", "-t", "file:reuse", "-y"});
  CHECK(args.values("disk") == List{"0:size=5G", "1:size=10G,mode=ro"});
  CHECK(args.value("template") == "file:reuse");
  CHECK(args.value("NAME") == "name");
  CHECK(args.has("yes"));
  CHECK_FALSE(args.has("SIZE"));
  CHECK_FALSE(args.has("dry-run"));
  CHECK(args.value("output", "text") == "text");
  CHECK(added({"n", "5G"}).value("SIZE") == "5G");
  CHECK(added({"--disk=0:a", "--template=", "n"}).value("template", "x").empty());
  CHECK(added({"-tabc", "n"}).value("template") == "abc");
}

TEST_CASE("global options after the verb") {
  const Arguments args =
      added({"n", "--output", "json", "-vv", "--plugin-dir", "/a", "--plugin-dir", "/b", "--dry-run"});
  CHECK(args.value("output") == "json");
  CHECK(args.values("verbose").size() == 2);
  CHECK(args.values("plugin-dir") == List{"/a", "/b"});
  CHECK(args.has("dry-run"));
}

TEST_CASE("values are taken as they are") {
  for (const std::string id : {R"([FD_LOOP, FT_RAW, "/p/sda"])", "[loop,raw,/p]", "{}", "[]", "%%", "", "a b",
                               "\"q\"", "'q'", "/p\xff", "{a,b}", "a=b"}) {
    CAPTURE(id);
    const auto parsed = parse_verb(toy::kNouns[1], toy::kDiskVerbs[0], {id});
    REQUIRE(parsed.ok());
    CHECK(parsed->values("LOGICAL_ID") == List{id});
    CHECK(added({"n", "--disk", id}).values("disk") == List{id});
    CHECK(added({"n", "--template=" + id}).values("template") == List{id});
  }
  CHECK(added({"--", "-n"}).value("NAME") == "-n");
  CHECK(added({"n", "--template=-x"}).value("template") == "-x");
  CHECK(refused({"n", "5G", "--", "more"}) == "unexpected argument 'more'");
}

TEST_CASE("mistyped options are told in their order, with the nearest") {
  CHECK(refused({"n", "--outptu", "json"}) == "unknown option '--outptu'; did you mean '--output'?");
  CHECK(refused({"--outptu=json", "n"}) == "unknown option '--outptu'; did you mean '--output'?");
  CHECK(refused({"n", "--frobnicate"}) == "unknown option '--frobnicate'");
  CHECK(refused({"n", "-q"}).find("unknown option '-q'") == 0);
  CHECK(refused({"n", "5G", "more"}) == "unexpected argument 'more'");
  CHECK(refused({"n", "5G", "more", "much"}) == "unexpected argument 'more'");
}

TEST_CASE("what is missing or wrong") {
  CHECK(refused({}) == "NAME is missing");
  CHECK(refused({"n", "--access", "x"}) == "--access x: not one of w, r");
  CHECK(refused({"n", "--output", "jsno"}) == "--output jsno: not one of text, json; did you mean 'json'?");
  CHECK(refused({"n", "-t", "a", "-t", "b"}) == "--template is given more than once");
  CHECK(refused({"n", "--yes=maybe"}) == "--yes takes no value");
  CHECK(refused({"n", "--yes=false"}) == "--yes takes no value");
  const auto no_value = parse_verb(toy::kNouns[0], toy::kThingVerbs[0], {"n", "--dialect"});
  REQUIRE_FALSE(no_value.ok());
  CHECK(no_value.error().message().find("--dialect") != std::string::npos);
  const auto not_given = parse_verb(toy::kNouns[0], toy::kThingVerbs[0], {"n"});
  REQUIRE_FALSE(not_given.ok());
  CHECK(not_given.error().message() == "the option --dialect is missing");
}

TEST_CASE("--dry-run only where something changes") {
  const auto parsed = parse_verb(toy::kNouns[0], toy::kThingVerbs[1], {"--dry-run"});
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.error().is(kUnknownOption));
}

TEST_CASE("help wins over what is missing or unknown") {
  for (const List &rest : {List{"--help"}, List{"-h"}, List{"--frob", "-h"}, List{"a", "b", "c", "--help"}}) {
    const auto parsed = parse_verb(toy::kNouns[0], toy::kThingVerbs[0], rest);
    REQUIRE(parsed.ok());
    CHECK(parsed->has("help"));
  }
}
