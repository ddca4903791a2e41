// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/run.hpp"
#include "core/sys/signals.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using std::chrono::milliseconds;
using test::Scratch;

namespace {

RunSpec supervised(const Scratch &scratch, const std::string &body) {
  const std::string path = scratch.file("helper", "#!/bin/sh\n" + body);
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  RunSpec spec;
  spec.argv = {path};
  spec.supervised = true;
  return spec;
}

bool is_gone(const std::string &pid_file) {
  const auto text = read_file(pid_file, 100);
  if (!text || text->empty()) return false;
  const auto pid = static_cast<pid_t>(std::stol(*text));
  return !make_real_runner()->alive({pid, process_start_time(pid).value_or(0)});
}

}  // namespace

TEST_CASE("directory, environment, log, stdin and stdout are as asked for") {
  const Scratch scratch;
  RunSpec spec = supervised(scratch, "pwd >&2; env; cat; echo last >&2; exit 4");
  spec.directory = scratch.path();
  spec.environment = {"A=b c", "PATH=/usr/bin:/bin"};
  spec.log_path = scratch / "log";
  const Fd in(::open(scratch.file("in", "dump").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd out(::open((scratch / "out").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  spec.fds = {{in.get(), 0}, {out.get(), 1}};
  auto result = make_real_runner()->run(spec);
  REQUIRE(result);
  CHECK(result->exit_status == 4);
  const std::string got = *read_file(scratch / "out", 4096);
  CHECK(got.find("A=b c\n") != std::string::npos);
  CHECK(got.find("PATH=/usr/bin:/bin\n") != std::string::npos);
  CHECK(got.find("LANG") == std::string::npos);
  CHECK(got.ends_with("dump"));
  CHECK(result->last_lines.ends_with("last"));
  const std::string before = *read_file(scratch / "log", 4096);
  CHECK(before == scratch.path() + "\nlast\n");

  spec.fds.clear();
  spec.argv = {"echo", "second"};
  result = make_real_runner()->run(spec);
  REQUIRE(result);
  CHECK(result->last_lines == "second");  // not what stood in the log before
  CHECK(*read_file(scratch / "log", 4096) == before + "second\n");
}

TEST_CASE("what a script leaves running is ended, and keeps no lock") {
  const Scratch scratch;
  const std::string pid_file = scratch / "pid";
  const auto result =
      make_real_runner()->run(supervised(scratch, "setsid sleep 1000 & echo $! > " + pid_file + "; exit 3"));
  REQUIRE(result);
  CHECK(result->exit_status == 3);
  CHECK(is_gone(pid_file));
}

TEST_CASE("a supervised script is ended with all that it started") {
  const Scratch scratch;
  const std::string pid_file = scratch / "pid", cleaned = scratch / "cleaned";
  RunSpec spec = supervised(scratch, "trap 'echo x > " + cleaned +
                                         "; exit 9' TERM\n"
                                         "setsid sh -c 'trap : TERM; echo $$ > " +
                                         pid_file +
                                         "; while :; do sleep 0.1; done' &\n"
                                         "while :; do sleep 0.1; done");
  spec.log_path = scratch / "log";  // a pipe to a killed caller would kill the script itself
  SUBCASE("at its time-out") {
    spec.timeout = milliseconds(400);
    const auto result = make_real_runner()->run(spec);
    REQUIRE_FALSE(result);
    CHECK(result.error().is(kHelperTimeout));
  }
  SUBCASE("when a signal asks for it") {
    spec.timeout = milliseconds(0);
    const Signals signals;
    spec.cancel = signals.fd();
    REQUIRE(signals.check().ok());
    std::thread asker([&] {
      test::eventually([&] { return read_file(pid_file, 100).ok(); });
      ::kill(::getpid(), SIGINT);
    });
    const auto result = make_real_runner()->run(spec);
    asker.join();
    REQUIRE_FALSE(result);
    CHECK(result.error().is(kHelperCancelled));
    CHECK(signals.check().error().is(kHelperCancelled));
  }
  SUBCASE("when its caller is killed, and the lock stays until then") {
    const Fd directory = scratch.open();
    const pid_t caller = ::fork();
    if (caller == 0) {
      auto lock = OperationLock::acquire(directory.get(), "test", milliseconds(0));
      spec.held = {lock->fd()};
      spec.timeout = milliseconds(0);
      (void)make_real_runner()->run(spec);
      ::_exit(0);
    }
    REQUIRE(test::eventually(
        [&] { return read_file(pid_file, 100).ok() && !read_file(pid_file, 100)->empty(); }));
    ::kill(caller, SIGKILL);
    ::waitpid(caller, nullptr, 0);
    CHECK(OperationLock::acquire(directory.get(), "test", milliseconds(30000)).ok());
    CHECK(is_gone(pid_file));
  }
  CHECK(test::eventually([&] { return path_exists(cleaned); }));
  CHECK(test::eventually([&] { return is_gone(pid_file); }));
}

TEST_CASE("a mount that a script leaves is not left on the host") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "sys: mounts of a script", "needs root");
  const Scratch scratch;
  REQUIRE(::mkdir((scratch / "m").c_str(), 0700) == 0);
  const auto result = make_real_runner()->run(
      supervised(scratch, "mount -t tmpfs none " + (scratch / "m") + " && touch " + (scratch / "m/inside")));
  REQUIRE(result);
  CHECK(result->exit_status == 0);
  CHECK_FALSE(path_exists(scratch / "m/inside"));
}
