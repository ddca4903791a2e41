// SPDX-License-Identifier: MIT
// FD_BLKTAP killed before each of its calls of the host: whatever is left, query answers, attach makes it
// whole, and detach leaves nothing.
#include "live_bench.hpp"

using namespace blktap_test;

namespace {

/// Runs one operation in a child that dies before its n-th host call; true when it came to its end.
bool in_child(LiveBench &bench, unsigned n, bool attach) {
  const pid_t child = ::fork();
  if (child == 0) {
    bench.host.kill_at(n);
    const UniqueFd own(::open(bench.image.c_str(), O_RDWR | O_CLOEXEC));
    bench.caller.fd.reset(::fcntl(own.get(), F_DUPFD_CLOEXEC, 3));
    bench.host.lock_image(bench.caller.fd.get());
    ::_exit((attach ? bench.attach() : bench.detach()) == VBD_OK ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  const int code = WEXITSTATUS(status);
  REQUIRE((code == 0 || code == 86));
  return code == 0;
}

}  // namespace

TEST_CASE("qsd: attach killed at every step") {
  NEED_QSD("fd-blktap qsd killed attach");
  bool finished = false;
  unsigned n = 1;
  for (; !finished && n < 60; ++n) {
    CAPTURE(n);
    LiveBench bench;
    bench.caller.fd.reset();  // the parent must not hold the lock
    finished = in_child(bench, n, true);
    CHECK(bench.caller.query() == VBD_OK);
    bench.caller.fd.reset(::open(bench.image.c_str(), O_RDWR | O_CLOEXEC));
    if (n % 2 == 0) {
      CHECK_MESSAGE(bench.attach() == VBD_OK, bench.caller.error.text());
      CHECK(bench.loops().size() == 1);
      CHECK(bench.processes().size() == 1);
      bench.write_at(bench.caller.node(), "alive", 0);
    }
    CHECK_MESSAGE(bench.detach() == VBD_OK, bench.caller.error.text());
    CHECK(bench.clean());
  }
  CHECK(finished);
  CHECK(n > 8);
}

TEST_CASE("qsd: detach killed at every step") {
  NEED_QSD("fd-blktap qsd killed detach");
  bool finished = false;
  unsigned n = 1;
  for (; !finished && n < 60; ++n) {
    CAPTURE(n);
    LiveBench bench;
    REQUIRE(bench.attach() == VBD_OK);
    bench.caller.fd.reset();
    finished = in_child(bench, n, false);
    CHECK(bench.caller.query() == VBD_OK);
    CHECK_FALSE(bench.caller.results.flag("attached"));
    CHECK_MESSAGE(bench.detach() == VBD_OK, bench.caller.error.text());
    CHECK(bench.clean());
  }
  CHECK(finished);
  CHECK(n > 3);
}
