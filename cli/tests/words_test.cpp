// SPDX-License-Identifier: MIT
#include "cli/words.hpp"

#include <doctest/doctest.h>

#include "cli/tests/toy.hpp"

using namespace vbd;
using namespace vbd::cli;
using List = std::vector<std::string>;

namespace {

Words found(const List &args) {
  auto words = find_words(toy::kNouns, args);
  REQUIRE(words.ok());
  return *std::move(words);
}

Error refused(const List &args) {
  const auto words = find_words(toy::kNouns, args);
  REQUIRE_FALSE(words.ok());
  return words.error();
}

}  // namespace

TEST_CASE("options may stand anywhere") {
  for (const List &args : {List{"thing", "add", "--output", "json", "-t", "x", "n"},
                           List{"--output", "json", "thing", "add", "-t", "x", "n"},
                           List{"thing", "--output", "json", "-t", "x", "add", "n"},
                           List{"-t", "x", "--output", "json", "thing", "add", "n"}}) {
    const Words words = found(args);
    REQUIRE(words.verb != nullptr);
    CHECK(words.noun->name == "thing");
    CHECK(words.verb->name == "add");
    CHECK(words.rest.size() == 5);
    CHECK_FALSE(words.help);
  }
  CHECK(found({"--output=json", "-v", "thing", "list"}).rest == List{"--output=json", "-v"});
  CHECK(found({"thing", "add", "list"}).rest == List{"list"});
  CHECK(found({"thing", "add", "--", "-x"}).rest == List{"--", "-x"});
}

TEST_CASE("mistyped nouns and verbs are told the nearest") {
  CHECK(refused({"thnig", "add"}).message() == "unknown noun 'thnig'; did you mean 'thing'?");
  CHECK(refused({"thing", "ad"}).message() == "unknown verb of thing 'ad'; did you mean 'add'?");
  CHECK(refused({"thing", "frobnicate"}).message() == "unknown verb of thing 'frobnicate'");
  CHECK(refused({"thing", "frobnicate"}).hint() == "one of: add, list");
  CHECK(refused({"a\x1b[31m"}).message().find('\x1b') == std::string::npos);
  CHECK(refused({}).is(kUnknownNoun));
  CHECK(refused({"thing"}).is(kUnknownVerb));
  CHECK(refused({"thing", "--", "add"}).exit() == Exit::usage);
}

TEST_CASE("help in all its forms") {
  for (const List &args : {List{"help"}, List{"--help"}, List{"-h"}}) {
    const Words words = found(args);
    CHECK(words.help);
    CHECK(words.noun == nullptr);
  }
  for (const List &args :
       {List{"help", "thing"}, List{"thing", "help"}, List{"thing", "-h"}, List{"--help", "thing"}}) {
    const Words words = found(args);
    CHECK(words.help);
    CHECK(words.noun->name == "thing");
    CHECK(words.verb == nullptr);
  }
  CHECK(found({"help", "thing", "add"}).help);
  CHECK(found({"help", "thing", "add"}).verb->name == "add");
  CHECK_FALSE(found({"thing", "add", "--help"}).help);  // the parser's business
}
