// SPDX-License-Identifier: MIT
#include "core/base/error.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <memory>

#include "core/base/result.hpp"

using namespace vbd;

namespace {
constexpr ErrorKind kLost{"test.lost", Exit::not_found};
constexpr ErrorKind kOther{"test.other", Exit::failed};

Result<std::unique_ptr<int>> make(bool good) {
  if (!good) return Error{kLost, "no number", "look again"};
  return std::make_unique<int>(7);
}
}  // namespace

TEST_CASE("an error keeps its kind, text and hint") {
  const Error error{kLost, "disk 0", "look again"};
  CHECK(error.id() == "test.lost");
  CHECK(error.exit() == Exit::not_found);
  CHECK(error.message() == "disk 0");
  CHECK(error.hint() == "look again");
  CHECK(error.is(kLost));
  CHECK_FALSE(error.is(kOther));
}

TEST_CASE("at and with_hint make changed copies") {
  const Error error{kLost, "gone", "old"};
  CHECK(error.at("/p").message() == "/p: gone");
  CHECK(error.at("/p").hint() == "old");
  CHECK(error.with_hint("new").hint() == "new");
  CHECK(error.message() == "gone");
  CHECK(error.hint() == "old");
}

TEST_CASE("an error that is rephrased keeps id, exit code and hint") {
  const Error error{kLost, "gone", "look again"};
  const Error told = error.rephrase("the guest is ended, but gone");
  CHECK(told.is(kLost));
  CHECK(told.exit() == Exit::not_found);
  CHECK(told.message() == "the guest is ended, but gone");
  CHECK(told.hint() == "look again");
  CHECK(error.rephrase("x", "then stop again").hint() == "look again; then stop again");
  CHECK(Error(kLost, "gone").rephrase("x", "stop again").hint() == "stop again");
}

TEST_CASE("system_error ends with errno's text") {
  CHECK(system_error(kLost, "open /p", ENOENT).message() == "open /p: No such file or directory");
}

TEST_CASE("a result is a value or an error, and moves") {
  Result<std::unique_ptr<int>> good = make(true);
  REQUIRE(good.ok());
  CHECK(**good == 7);
  const std::unique_ptr<int> taken = std::move(good).value();
  CHECK(*taken == 7);
  const auto bad = make(false);
  REQUIRE_FALSE(bad);
  CHECK(bad.error().is(kLost));
  CHECK(Result<void>{}.ok());
  CHECK_FALSE(Result<void>{bad.error()}.ok());
}
