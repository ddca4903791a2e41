// SPDX-License-Identifier: MIT
#include "core/json/json.hpp"

#include <doctest/doctest.h>

using namespace vbd::json;

TEST_CASE("dump keeps the order of keys and both indents") {
  Value value;
  value.set("schema", "vbdkit.test/1").set("n", std::uint64_t{18446744073709551615u}).set("i", -5);
  value.set("none", nullptr)
      .set("yes", true)
      .set("list", Array{Value{1}, Value{"a"}})
      .set("empty", Array{})
      .set("o", Object{});
  CHECK(
      dump(value, 0) ==
      R"({"schema":"vbdkit.test/1","n":18446744073709551615,"i":-5,"none":null,"yes":true,"list":[1,"a"],"empty":[],"o":{}})");
  CHECK(dump(Value{Object{{"a", Value{1}}}}) == "{\n  \"a\": 1\n}");
}

TEST_CASE("strings: escapes, UTF-8 as it is, anything else replaced") {
  CHECK(dump(Value{"a\"b\\c\n\x01"}, 0) == R"("a\"b\\c\n\u0001")");
  CHECK(dump(Value{"\xc3\xa9"}, 0) == "\"\xc3\xa9\"");
  CHECK(dump(Value{"a\xff"}, 0) == "\"a\xef\xbf\xbd\"");
}

TEST_CASE("what is dumped is parsed back") {
  Value value;
  value.set("a", Array{Value{"x"}, Value{nullptr}, Value{false},
                       Value{Object{{"deep", Value{std::uint64_t{1} << 63}}}}});
  const std::string text = dump(value);
  const auto parsed = parse(text);
  REQUIRE(parsed.ok());
  CHECK(dump(*parsed) == text);
  std::uint64_t number = 0;
  const Value *list = parsed->find("a");
  REQUIRE(list != nullptr);
  CHECK(list->as_array()->at(3).find("deep")->get_u64(number));
  CHECK(number == std::uint64_t{1} << 63);
  std::int64_t signed_number = 0;
  CHECK_FALSE(list->as_array()->at(3).find("deep")->get_i64(signed_number));
}

TEST_CASE("what is not JSON is refused in one line") {
  for (const char *bad :
       {"", "{", "[1,]", "{\"a\":}", "nul", "[1] 2", "{\"a\":1,}", "'a'", "[1e999999]", "\"\xff\""}) {
    CAPTURE(std::string(bad));
    const auto parsed = parse(bad);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().is(kBadJson));
    CHECK(parsed.error().message().find('\n') == std::string::npos);
  }
}

TEST_CASE("a member that is there twice is refused") {
  CHECK_FALSE(parse(R"({"a": 1, "a": 2})").ok());
  CHECK_FALSE(parse(R"([{"b": {"a": 1, "\u0061": 2}}])").ok());
  CHECK(parse(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})").ok());
}

TEST_CASE("depth is bounded") {
  CHECK(parse(std::string(16, '[') + std::string(16, ']')).ok());
  CHECK_FALSE(parse(std::string(17, '[') + std::string(17, ']')).ok());
  CHECK_FALSE(parse(std::string(1000000, '[')).ok());
}

TEST_CASE("numbers that do not fit are said so") {
  std::uint64_t u = 0;
  std::int64_t i = 0;
  CHECK_FALSE(Value{-1}.get_u64(u));
  CHECK(Value{-1}.get_i64(i));
  CHECK(i == -1);
  CHECK_FALSE(Value{"1"}.get_u64(u));
  CHECK_FALSE(Value{1.5}.get_u64(u));
}
