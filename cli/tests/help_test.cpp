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
    CAPTURE(part);
    CHECK(verb.find(part) != std::string::npos);
  }
  CHECK(help_text(toy::kNouns[0], toy::kThingVerbs[1]).find("--dry-run") == std::string::npos);
  CHECK(help_text(toy::kNouns[0]).find("list things") != std::string::npos);
  const std::string all = help_text(toy::kNouns);
  for (const char *part : {"thing", "disk", "exit codes:", "6  image damaged", "--version"})
    CHECK(all.find(part) != std::string::npos);
}
