// SPDX-License-Identifier: MIT
// A test that can't run here says why: "SKIP name: reason" on stderr, which the test runner collects and
// prints.
#pragma once

#include <doctest/doctest.h>

#include <cstdio>

/// Ends the test case with its reason when `condition` does not hold.
#define VBD_REQUIRE_OR_SKIP(condition, name, reason)       \
  do {                                                     \
    if (!(condition)) {                                    \
      std::fprintf(stderr, "SKIP %s: %s\n", name, reason); \
      return;                                              \
    }                                                      \
  } while (false)
