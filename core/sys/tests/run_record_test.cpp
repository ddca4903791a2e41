// SPDX-License-Identifier: MIT
#include "core/sys/run_record.hpp"

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

constexpr const char *kRecord =
    "vbdkit-helpers 1\n"
    "# by hand\n"
    "run fd=5 -- qemu-img info /p\n"
    "= exit 0 {}\\x0a \\e\n"
    "\n"
    "spawn unit=vbd-1 -- daemon\n"
    "= process 12 34\n"
    "alive 12 34\n"
    "= yes\n"
    "stop 12 34\n"
    "= done\n"
    "run -- xl list\n"
    "= error helper.missing 1 xl:\\x20missing install\\x20it\n";

std::unique_ptr<PlaybackRunner> player(const std::string &record) {
  auto made = make_playback_runner(record);
  REQUIRE(made);
  return std::move(*made);
}

}  // namespace

TEST_CASE("a record answers in its order") {
  const auto runner = player(kRecord);
  RunSpec info = spec_of({"qemu-img", "info", "/p"});
  info.fds = {{17, 5}};
  const auto result = runner->run(info);
  REQUIRE(result);
  CHECK(result->output == "{}\n");
  SpawnSpec daemon;
  daemon.argv = {"daemon"};
  daemon.unit = "vbd-1";
  const auto process = runner->spawn(daemon);
  REQUIRE(process);
  CHECK(process->pid == 12);
  CHECK(runner->alive(*process));
  CHECK(runner->stop(*process, milliseconds(1)));
  CHECK(runner->finish().error().is(kPlayback));  // xl list was not asked for
  const auto missing = runner->run(spec_of({"xl", "list"}));
  REQUIRE_FALSE(missing);
  CHECK(missing.error().is(kHelperMissing));
  CHECK(missing.error().message() == "xl: missing");
  CHECK(missing.error().hint() == "install it");
  CHECK(runner->finish().ok());
}

TEST_CASE("anything else is refused, and finish remembers it") {
  const auto runner = player("vbdkit-helpers 1\nrun -- a b\n= exit 0 x y\n");
  const auto other = runner->run(spec_of({"a", "c"}));
  REQUIRE_FALSE(other);
  CHECK(other.error().is(kPlayback));
  CHECK(other.error().message().find("run -- a b") != std::string::npos);
  CHECK_FALSE(runner->alive({1, 2}));
  CHECK(runner->run(spec_of({"a", "b"})).ok());
  CHECK(runner->run(spec_of({"a", "b"})).error().is(kPlayback));
  CHECK(runner->finish().error().is(kPlayback));
}

TEST_CASE("a record that is none is refused with its line") {
  for (const auto &[text, where] : {std::pair{"", "line 1"},
                                    {"vbdkit-helpers 2\n", "line 1"},
                                    {"vbdkit-helpers 1\n= exit 0 x y\n", "line 2"},
                                    {"vbdkit-helpers 1\nrun -- a\nrun -- b\n", "line 3"},
                                    {"vbdkit-helpers 1\nrun -- a\n", "no answer"},
                                    {"vbdkit-helpers 1\nrun  -- a\n= exit 0 x y\n", "line 2"},
                                    {"vbdkit-helpers 1\nrun -- \\q\n", "line 2"}}) {
    const char *record = text;  // INFO keeps a lambda, and clang 14 can't capture a binding
    INFO(record);
    const auto made = make_playback_runner(record);
    REQUIRE_FALSE(made);
    CHECK(made.error().is(kPlayback));
    CHECK(made.error().message().find(where) != std::string::npos);
  }
}

TEST_CASE("an answer that does not fit its request is refused") {
  CHECK(player("vbdkit-helpers 1\nrun -- a\n= yes\n")->run(spec_of({"a"})).error().is(kPlayback));
  const auto runner = player("vbdkit-helpers 1\nalive 1 2\n= maybe\n");
  CHECK_FALSE(runner->alive({1, 2}));
  CHECK(runner->finish().error().is(kPlayback));
}

TEST_CASE("words survive the way to text and back") {
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  const record::Words words{"", every, "\\e", " ", "plain"};
  const std::string line = record::to_line(words);
  CHECK(line.find_first_of("\n\r\t") == std::string::npos);
  CHECK(*record::from_line(line) == words);
}

TEST_CASE("what the real runner did is played back the same") {
  const Scratch scratch;
  const std::string path = scratch / "record";
  const auto drive = [&](Runner &runner) {
    RunSpec cat = spec_of({"cat"});
    cat.input = "two\nlines";
    SpawnSpec sleep;
    sleep.argv = {"sleep", "100"};
    std::string seen = runner.run(cat).value().output;
    seen += std::to_string(runner.run(spec_of({"false"})).value().exit_status);
    seen += runner.run(spec_of({"no-such-helper"})).error().id();
    const Process process = runner.spawn(sleep).value();
    seen += std::to_string(process.pid) + (runner.alive(process) ? "y" : "n");
    seen += runner.stop(process, milliseconds(5000)).ok() ? "stopped" : "not";
    return seen + (runner.alive(process) ? "y" : "n");
  };
  const std::string first = drive(*make_recording_runner(make_real_runner(), path));
  CHECK(first.find("two\nlines1helper.missing") == 0);
  const auto runner = player(*read_file(path, 1u << 20));
  CHECK(drive(*runner) == first);
  CHECK(runner->finish().ok());
}
