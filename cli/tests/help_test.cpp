// SPDX-License-Identifier: MIT
#include "cli/help.hpp"

#include <doctest/doctest.h>

#include "cli/tests/toy.hpp"

using namespace vbd::cli;

TEST_CASE("help names everything that the tables have") {
  const std::string verb = help_text(toy::kNouns[0], toy::kThingVerbs[0]);
  CHECK(verb.find("usage: vbd thing add --dialect NAME [options] NAME [SIZE]\n") == 0);
  for (const char *part : {"-t, --template WORDS", "--access w|r", "--dry-run", "--output text|json",
                           "-h, --help", "vbd thing add x"}) {
    CAPTURE(std::string(part));
    CHECK(verb.find(part) != std::string::npos);
  }
  CHECK(help_text(toy::kNouns[0], toy::kThingVerbs[1]).find("--dry-run") == std::string::npos);
  CHECK(help_text(toy::kNouns[0]).find("list things") != std::string::npos);
  const std::string all = help_text(toy::kNouns);
  for (const char *part : {"thing", "disk", "exit codes:", "6  image damaged", "--version"})
    CHECK(all.find(part) != std::string::npos);
}

TEST_CASE("long help is broken between words, behind its column") {
  std::string words;
  for (int i = 0; i < 40; ++i) words += i == 0 ? "word" : " word";
  const OptionSpec options[] = {{"--long", Takes::nothing, "", words}};
  VerbSpec verb = toy::kThingVerbs[0];
  verb.options = options;
  const std::string help = help_text(toy::kNouns[0], verb);
  const std::size_t begin = help.find("      --long");
  REQUIRE(begin != std::string::npos);
  const std::size_t column = help.find("word", begin) - begin;
  const std::size_t second = help.find('\n', begin) + 1;
  CHECK(second - begin <= 111);
  CHECK(help.substr(second, column + 4) == std::string(column, ' ') + "word");
}
