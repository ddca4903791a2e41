// SPDX-License-Identifier: MIT
#include "core/sys/run.hpp"

#include "core/sys/host.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using std::chrono::milliseconds;
using test::Scratch;

namespace {

RunSpec spec_of(std::vector<std::string> argv) {
  RunSpec spec;
  spec.argv = std::move(argv);
  return spec;
}

Result<RunResult> run(std::vector<std::string> argv) {
  return make_real_runner()->run(spec_of(std::move(argv)));
}

/// A test helper is a script: its interpreter is run by the kernel, not by us.
std::string script(const Scratch &scratch, const std::string &body) {
  const std::string path = scratch.file("helper", "#!/bin/sh\n" + body);
  REQUIRE(::chmod(path.c_str(), 0755) == 0);
  return path;
}

}  // namespace

TEST_CASE("output, status and last lines come back") {
  const Scratch scratch;
  const auto result = run({script(scratch, "echo out; echo err >&2; exit 3")});
  REQUIRE(result);
  CHECK(result->exit_status == 3);
  CHECK(result->output == "out\n");
  CHECK(result->last_lines == "err");
}

TEST_CASE("arguments reach the program as they are") {
  const auto result = run({"printf", "%s|", "a b", "$HOME", "'\"\\", "*", ""});
  REQUIRE(result);
  CHECK(result->output == "a b|$HOME|'\"\\|*||");
}

TEST_CASE("the environment is clean, stdin empty unless given") {
  ::setenv("VBD_SECRET", "x", 1);
  const auto result = run({"env"});
  ::unsetenv("VBD_SECRET");
  REQUIRE(result);
  CHECK(result->output == std::string("PATH=") + kHelperPath + "\nLC_ALL=C\nLANG=C\n");
  CHECK(run({"cat"})->output.empty());
  RunSpec spec = spec_of({"cat"});
  spec.input = std::string(300000, 'i');
  CHECK(make_real_runner()->run(spec)->output == spec.input);
  spec.argv = {"true"};  // one that never reads
  CHECK(make_real_runner()->run(spec)->exit_status == 0);
}

TEST_CASE("a missing program is named") {
  const auto result = run({"no-such-helper"});
  REQUIRE_FALSE(result);
  CHECK(result.error().is(kHelperMissing));
  CHECK(result.error().message().find("no-such-helper") != std::string::npos);
  CHECK(run({"/nonexistent/helper"}).error().is(kHelperMissing));
  CHECK(run({"bin/true"}).error().is(kHelperMissing));  // nothing relative
  CHECK(run({}).error().is(kHelperMissing));
  const Scratch scratch;
  const std::string bad = scratch.file("bad", "#!/nonexistent/interpreter\n");
  REQUIRE(::chmod(bad.c_str(), 0755) == 0);
  CHECK(run({bad}).error().is(kHelperMissing));
  const std::string data = scratch.file("data", "echo never\n");
  REQUIRE(::chmod(data.c_str(), 0755) == 0);
  CHECK_FALSE(run({data}).ok());  // no "#!": no shell is tried
}

TEST_CASE("a time-out ends the whole process group") {
  const Scratch scratch;
  const std::string pid_file = scratch / "pid";
  RunSpec spec =
      spec_of({script(scratch, "sleep 1000 & echo $! > " + pid_file + "; echo waiting >&2; wait")});
  spec.timeout = milliseconds(300);
  const auto start = std::chrono::steady_clock::now();
  const auto result = make_real_runner()->run(spec);
  CHECK(std::chrono::steady_clock::now() - start < milliseconds(5000));
  REQUIRE_FALSE(result);
  CHECK(result.error().is(kHelperTimeout));
  CHECK(result.error().message().find("waiting") != std::string::npos);
  const pid_t sleeper = static_cast<pid_t>(std::stol(*read_file(pid_file, 100)));
  CHECK(test::eventually([&] {
    return !make_real_runner()->alive({sleeper, process_start_time(sleeper).value_or(0)});
  }));
}

TEST_CASE("a helper has the usual signals, also one that vbd takes for an error") {
  const auto before = ::signal(SIGXFSZ, SIG_IGN);
  const auto done = run({"grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"});
  ::signal(SIGXFSZ, before);
  REQUIRE(done);
  CHECK(done->output == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_CASE("one that ignores SIGTERM is killed") {
  const Scratch scratch;
  RunSpec spec = spec_of({script(scratch, "trap '' TERM; while :; do sleep 0.1; done")});
  spec.timeout = milliseconds(200);
  CHECK(make_real_runner()->run(spec).error().is(kHelperTimeout));
}

TEST_CASE("a helper that leaves a daemon with our pipes does not hold us") {
  const Scratch scratch;
  const std::string pid_file = scratch / "pid";
  const auto start = std::chrono::steady_clock::now();
  const auto result = run({script(scratch, "sleep 20 & echo $! > " + pid_file + "; echo started")});
  CHECK(std::chrono::steady_clock::now() - start < milliseconds(5000));
  REQUIRE(result);
  CHECK(result->output == "started\n");
  ::kill(static_cast<pid_t>(std::stol(*read_file(pid_file, 100))), SIGKILL);
}

TEST_CASE("much output is cut, of stderr the end is kept") {
  RunSpec spec = spec_of({"head", "-c", "1000000", "/dev/zero"});
  spec.output_limit = 1000;
  CHECK(make_real_runner()->run(spec)->output.size() == 1000);
  const Scratch scratch;
  const auto result = run({script(
      scratch,
      "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; printf '\\033[31mred' >&2")});
  REQUIRE(result);
  CHECK(result->last_lines.ends_with("line 2999\n\\x1b[31mred"));
  CHECK(std::count(result->last_lines.begin(), result->last_lines.end(), '\n') == 19);
}

TEST_CASE("a signal is 128 and its number; run_checked puts last lines in one line") {
  const Scratch scratch;
  const std::string path = script(scratch, "echo one >&2; echo two >&2; kill -9 $$");
  CHECK(run({path})->exit_status == 137);
  const auto checked = run_checked(*make_real_runner(), spec_of({path}));
  REQUIRE_FALSE(checked);
  CHECK(checked.error().is(kHelperFailed));
  CHECK(checked.error().message() == "helper: ended by signal 9: one; two");
  CHECK(run_checked(*make_real_runner(), spec_of({"false"})).error().message() == "false: exit status 1");
  CHECK(run_checked(*make_real_runner(), spec_of({"true"})).ok());
}

TEST_CASE("only the descriptors that are mapped reach the helper") {
  const Scratch scratch;
  const Fd a(
      ::open(scratch.file("a", "AAA").c_str(), O_RDONLY));  // not O_CLOEXEC: as a careless library would
  const Fd b(::open(scratch.file("b", "BBB").c_str(), O_RDONLY));
  RunSpec spec = spec_of({script(scratch, "cat <&5; cat <&6; exec ls /proc/self/fd")});
  spec.fds = {{a.get(), 6}, {b.get(), 5}};
  const auto result = make_real_runner()->run(spec);
  REQUIRE(result);
  CHECK(result->output == "BBBAAA0\n1\n2\n3\n5\n6\n");  // 3 is the directory that ls reads
  REQUIRE(::lseek(a.get(), 0, SEEK_SET) == 0);          // the helper shared our position
  RunSpec crossed = spec_of({"cat"});
  crossed.fds = {{a.get(), 0}, {b.get(), a.get()}};  // a target that is another's source
  CHECK(make_real_runner()->run(crossed)->output == "AAA");
}

TEST_CASE("signals that we ignore are not ignored by the helper") {
  const auto before = ::signal(SIGTERM, SIG_IGN);
  const Scratch scratch;
  CHECK(run({script(scratch, "kill -TERM $$; echo survived")})->exit_status == 128 + SIGTERM);
  ::signal(SIGTERM, before);
}
