// SPDX-License-Identifier: MIT
#include "core/sys/bulk.hpp"

#include <doctest/doctest.h>

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
