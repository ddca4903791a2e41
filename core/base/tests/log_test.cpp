// SPDX-License-Identifier: MIT
#include "core/base/log.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using namespace vbd;

namespace {

/// What `action` wrote to stderr.
template <class Action>
std::string stderr_of(Action action) {
  std::fflush(stderr);
  std::FILE *file = std::tmpfile();
  const int saved = dup(2);
  dup2(fileno(file), 2);
  action();
  std::fflush(stderr);
  dup2(saved, 2);
  close(saved);
  std::string text(4096, '\0');
  const ssize_t got = pread(fileno(file), text.data(), text.size(), 0);
  std::fclose(file);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

}  // namespace

TEST_CASE("quiet by default, one safe line per message") {
  CHECK(stderr_of([] {
          log::info("not shown");
          log::warn("low {} space\n\033[31m");
        }) == "vbd: warning: low {} space\\x0a\\x1b[31m\n");
  CHECK(log::enabled(log::Level::error));
  CHECK_FALSE(log::enabled(log::Level::info));
  log::set_level(log::Level::debug);
  CHECK(stderr_of([] { log::debug("shown"); }) == "vbd: debug: shown\n");
  log::set_level(log::Level::warn);
}

TEST_CASE("audit never fails and writes nothing to stderr") {
  CHECK(stderr_of([] { log::audit("image create /p\n%s", "done"); }).empty());
}
