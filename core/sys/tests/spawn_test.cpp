// SPDX-License-Identifier: MIT
#include <csignal>

#include "core/base/text.hpp"
#include "core/sys/host.hpp"
#include "core/sys/run.hpp"
#include "core/sys/spawn.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using std::chrono::milliseconds;
using test::Scratch;

namespace {

std::string script(const Scratch &scratch, const std::string &body) {
  const std::string path = scratch.file("daemon", "#!/bin/sh\n" + body);
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  return path;
}

std::string link_of(std::int64_t pid, const char *name) {
  std::error_code why;
  return std::filesystem::read_symlink(text::cat("/proc/", pid, "/", name), why);
}

}  // namespace

TEST_CASE("a spawned program stands apart: own session, no stdio of ours, no parent") {
  const auto runner = make_real_runner();
  SpawnSpec spec;
  spec.argv = {"sleep", "100"};
  const auto process = runner->spawn(spec);
  REQUIRE(process);
  CHECK(process->start_time == process_start_time(process->pid));
  CHECK(runner->alive(*process));
  CHECK(::getsid(static_cast<pid_t>(process->pid)) != ::getsid(0));
  CHECK(link_of(process->pid, "cwd") == "/");
  for (const char *fd : {"fd/0", "fd/1", "fd/2"}) CHECK(link_of(process->pid, fd) == "/dev/null");
  CHECK_FALSE(runner->alive({process->pid, process->start_time + 1}));  // another process by now
  CHECK(runner->stop({process->pid, process->start_time + 1}, milliseconds(0)));
  CHECK(runner->alive(*process));
  CHECK(runner->stop(*process, milliseconds(5000)));
  CHECK_FALSE(runner->alive(*process));
  CHECK(runner->stop(*process, milliseconds(0)));
  CHECK(::waitpid(static_cast<pid_t>(process->pid), nullptr, WNOHANG) ==
        -1);  // no child of ours, so no zombie
}

TEST_CASE("its output goes to its log, its descriptors are as mapped") {
  const Scratch scratch;
  const auto runner = make_real_runner();
  const Fd image(::open(scratch.file("image", "IMAGE").c_str(), O_RDONLY | O_CLOEXEC));
  SpawnSpec spec;
  spec.argv = {script(scratch, "cat <&7; echo problem >&2; exec sleep 100")};
  spec.fds = {{image.get(), 7}};
  spec.log_path = scratch / "log";
  const auto process = runner->spawn(spec);
  REQUIRE(process);
  CHECK(test::eventually([&] { return read_file(scratch / "log", 100).value() == "IMAGEproblem\n"; }));
  CHECK(runner->stop(*process, milliseconds(5000)));
}

TEST_CASE("one that loses a SIGTERM is asked again") {
  const Scratch scratch;
  const auto runner = make_real_runner();
  SpawnSpec spec;
  spec.argv = {script(scratch,
                      "trap 'asked=${asked}x; if [ $asked = xx ]; then echo asked twice; exit; fi' TERM; "
                      "echo ready; while :; do sleep 0.05; done")};
  spec.log_path = scratch / "log";
  const auto process = runner->spawn(spec);
  REQUIRE(process);
  REQUIRE(test::eventually([&] { return !read_file(scratch / "log", 100).value().empty(); }));
  CHECK(runner->stop(*process, milliseconds(5000)));
  CHECK(read_file(scratch / "log", 100).value() == "ready\nasked twice\n");
}

TEST_CASE("one that ignores SIGTERM is killed in the end") {
  const Scratch scratch;
  const auto runner = make_real_runner();
  SpawnSpec spec;
  spec.argv = {script(scratch, "trap '' TERM; echo ready; while :; do sleep 0.05; done")};
  spec.log_path = scratch / "log";
  const auto process = runner->spawn(spec);
  REQUIRE(process);
  REQUIRE(test::eventually([&] { return !read_file(scratch / "log", 100).value().empty(); }));
  CHECK(runner->stop(*process, milliseconds(100)));
  CHECK_FALSE(runner->alive(*process));
}

TEST_CASE("a scope stands where the host's shutdown ends it: guests, then their disks' servers") {
  using Words = std::vector<std::string>;
  SpawnSpec spec;
  spec.unit = "vbdkit-qsd-1";
  CHECK(scope_words(spec, "/bin/systemd-run", {"/bin/x", "y"}) ==
        Words{"/bin/systemd-run", "--scope", "--quiet", "--collect", "--unit=vbdkit-qsd-1",
              "--property=Before=vbdkit-disks.target", "--", "/bin/x", "y"});
  spec.unit = "vbdkit-instance-web1";
  spec.role = SpawnRole::guest;
  CHECK(scope_words(spec, "/bin/systemd-run", {"/bin/x"}) ==
        Words{"/bin/systemd-run", "--scope", "--quiet", "--collect", "--unit=vbdkit-instance-web1",
              "--property=After=vbdkit-disks.target", "--property=Before=vbdkit-guests.target", "--",
              "/bin/x"});
}

TEST_CASE("what can't be started says so") {
  const auto runner = make_real_runner();
  SpawnSpec spec;
  CHECK(runner->spawn(spec).error().is(kHelperMissing));
  spec.argv = {"no-such-helper"};
  CHECK(runner->spawn(spec).error().is(kHelperMissing));
  const Scratch scratch;
  const std::string bad = scratch.file("bad", "#!/nonexistent/interpreter\n");
  REQUIRE(::chmod(bad.c_str(), 0755) == 0);
  spec.argv = {bad};
  CHECK(runner->spawn(spec).error().is(kHelperMissing));
  CHECK_FALSE(runner->alive({}));
}
