// SPDX-License-Identifier: MIT
// The one main() of all doctest programs. Skips are printed with their reason: see skip.hpp.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
