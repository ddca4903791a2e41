// SPDX-License-Identifier: MIT
#include "cli/terminal.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>

using namespace vbd::cli;

namespace {

/// stdout is `fd` for the life of this.
class Stdout {
 public:
  explicit Stdout(int fd) : saved_(::dup(STDOUT_FILENO)) {
    REQUIRE(::dup2(fd, STDOUT_FILENO) == STDOUT_FILENO);
  }
  Stdout(const Stdout &) = delete;
  Stdout &operator=(const Stdout &) = delete;
  ~Stdout() {
    ::dup2(saved_, STDOUT_FILENO);
    ::close(saved_);
  }

 private:
  int saved_;
};

}  // namespace

TEST_CASE("a full disk is noticed") {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(full >= 0);
  const Stdout there(full);
  ::close(full);
  const auto written = write_stdout("x\n");
  REQUIRE_FALSE(written.ok());
  CHECK(written.error().is(kOutput));
  CHECK(written.error().exit() == vbd::Exit::failed);
}

TEST_CASE("a closed pipe is an error, no signal, and SIGPIPE stays as it was") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  ::close(ends[0]);
  const Stdout there(ends[1]);
  ::close(ends[1]);
  CHECK_FALSE(write_stdout("x\n").ok());
  struct sigaction now {};
  ::sigaction(SIGPIPE, nullptr, &now);
  CHECK((now.sa_handler == SIG_DFL));
}

TEST_CASE("colours") {
  CHECK(wants_color("always", STDOUT_FILENO));
  CHECK_FALSE(wants_color("never", STDOUT_FILENO));
  const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  CHECK_FALSE(wants_color("auto", null));
  ::close(null);
  const int terminal = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 || ::isatty(terminal) == 0) return;
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  CHECK(wants_color("auto", terminal));
  ::setenv("NO_COLOR", "1", 1);
  CHECK_FALSE(wants_color("auto", terminal));
  ::unsetenv("NO_COLOR");
  ::setenv("TERM", "dumb", 1);
  CHECK_FALSE(wants_color("auto", terminal));
  ::close(terminal);
}
