// SPDX-License-Identifier: MIT
#include "core/sys/bulk.hpp"

#include <doctest/doctest.h>
#include <poll.h>

#include <cstring>

#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using namespace vbd::sys::test;

TEST_CASE("a closed reader is an error, not the end of the process") {
  auto pipe = make_bulk_pipe();
  REQUIRE(pipe.ok());
  CHECK(write_full(pipe->write.get(), "abc", 3).ok());
  char bytes[8] = {};
  pipe->write.reset();
  CHECK(*read_full(pipe->read.get(), bytes, sizeof bytes) == 3);
  CHECK(std::string(bytes) == "abc");
  pipe = make_bulk_pipe();
  REQUIRE(pipe.ok());
  pipe->read.reset();
  CHECK_FALSE(write_full(pipe->write.get(), "abc", 3).ok());
}

TEST_CASE("two directories change their names, and nothing is lost") {
  const Scratch scratch;
  auto directory = open_directory(scratch.path());
  REQUIRE(directory.ok());
  for (const char *name : {"a", "b"}) {
    REQUIRE(make_dir_at(directory->get(), name, 0700).ok());
    auto inner = open_directory_at(directory->get(), name, name);
    REQUIRE(inner.ok());
    REQUIRE(create_file_at(inner->get(), name, name).ok());
  }
  auto exchanged = exchange_at(directory->get(), "a", "b");
  REQUIRE(exchanged.ok());
  if (!*exchanged) return;  // nothing has happened, which is the contract
  CHECK(path_exists(scratch.path() + "/a/b"));
  CHECK(path_exists(scratch.path() + "/b/a"));
  CHECK(exchange_at(directory->get(), "a", "nothing").error().is(kNotFound));
}

TEST_CASE("what can be read without waiting") {
  auto pipe = make_bulk_pipe();
  REQUIRE(pipe.ok());
  CHECK(*read_ready(pipe->read.get()) == "");
  REQUIRE(write_full(pipe->write.get(), "1024\n", 5).ok());
  CHECK(*read_ready(pipe->read.get()) == "1024\n");
  pipe->write.reset();
  CHECK(*read_ready(pipe->read.get()) == "");
}

TEST_CASE("one of two can be read, or has lost its writer") {
  auto a = make_bulk_pipe(), b = make_bulk_pipe();
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  auto both = either_readable(a->read.get(), b->read.get());
  REQUIRE(both.ok());
  const auto readable = [](const Fd &fd) {
    pollfd one{fd.get(), POLLIN, 0};
    return ::poll(&one, 1, 0) == 1;
  };
  CHECK_FALSE(readable(*both));
  REQUIRE(write_full(a->write.get(), "x", 1).ok());
  CHECK(readable(*both));
  CHECK(*read_ready(a->read.get()) == "x");
  CHECK_FALSE(readable(*both));
  b->write.reset();
  CHECK(readable(*both));
  auto one = either_readable(-1, a->read.get());
  REQUIRE(one.ok());
  CHECK_FALSE(readable(*one));
}

TEST_CASE("a reader that is gone is no error for who writes to readers") {
  auto pipe = make_bulk_pipe();
  REQUIRE(pipe.ok());
  CHECK(*write_to_reader(pipe->write.get(), "x", 1));
  pipe->read.reset();
  CHECK_FALSE(*write_to_reader(pipe->write.get(), "x", 1));
  CHECK_FALSE(write_full(pipe->write.get(), "x", 1).ok());
}
