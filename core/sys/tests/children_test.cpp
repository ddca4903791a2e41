// SPDX-License-Identifier: MIT
#include "core/sys/children.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <numeric>
#include <set>
#include <string>

using namespace vbd::sys;

namespace {

constexpr std::chrono::milliseconds kPatience{300};

std::vector<std::size_t> numbers(std::size_t count) {
  std::vector<std::size_t> all(count);
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

/// Items that hang are the ones in `dead`.
std::vector<std::optional<std::string>> answers(std::size_t count, const std::set<std::size_t> &dead) {
  return run_in_children(
      count, {numbers(count)},
      [&](std::size_t item) {
        while (dead.contains(item)) ::pause();
        return std::string(item, 'x');
      },
      kPatience);
}

}  // namespace

TEST_CASE("children answer for their items, whatever the length") {
  const auto got = answers(1000, {});  // half a megabyte: more than a pipe holds
  REQUIRE(got.size() == 1000);
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == std::string(i, 'x'));
}

TEST_CASE("what stands behind a hanging item is answered, for any number of items and a few dead ones") {
  const std::set<std::size_t> dead{0, 1, 70, 299};
  const auto got = answers(300, dead);
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i].has_value() == !dead.contains(i));
  }
}

TEST_CASE("where everything hangs it is given up") {
  std::set<std::size_t> dead;
  for (const std::size_t item : numbers(500)) dead.insert(item);
  for (const auto &answer : answers(500, dead)) CHECK_FALSE(answer.has_value());
}

TEST_CASE("a group that hangs keeps none of the others") {
  const auto got = run_in_children(
      3, {{0}, {1, 2}},
      [](std::size_t item) {
        while (item == 0) ::pause();
        return std::to_string(item);
      },
      kPatience);
  CHECK_FALSE(got[0].has_value());
  CHECK(got[1] == "1");
  CHECK(got[2] == "2");
}
