// SPDX-License-Identifier: MIT
// Lines of /proc, in parts of which anybody's words stand.
#include "core/sys/proc.hpp"

#include <doctest/doctest.h>

using namespace vbd::sys;

TEST_CASE("a lock that ends before it begins is none") {
  const auto ranges = parse_held_ranges(
      "pos:\t0\nlock:\t1: OFDLCK  ADVISORY  READ -1 08:01:1234 100 103\n"
      "lock:\t2: POSIX  ADVISORY  WRITE 7 08:01:1234 4 0\n"
      "lock:\t3: POSIX  ADVISORY  WRITE 7 08:01:1234 4 EOF\n");
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[0].first == 100);
  CHECK(ranges[0].last == 103);
  CHECK(ranges[1].write);
  CHECK(ranges[1].last == UINT64_MAX);
}

TEST_CASE("a program's name does not change what is read of it") {
  const auto state =
      parse_process_state("17 (a) Z 1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20\n");
  REQUIRE(state);
  CHECK(state->state == 'S');
  CHECK(state->start_time == 4242);
  CHECK_FALSE(parse_process_state("17 (a"));
}
