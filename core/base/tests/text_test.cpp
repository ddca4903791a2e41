// SPDX-License-Identifier: MIT
#include "core/base/text.hpp"

#include <doctest/doctest.h>

using namespace vbd;
using Words = std::vector<std::string>;

TEST_CASE("cat joins strings, characters and integers") {
  CHECK(text::cat("disk ", 3, ": ", std::string("/p"), ' ', std::uint64_t{18446744073709551615u}, " ", -1) ==
        "disk 3: /p 18446744073709551615 -1");
}

TEST_CASE("split and join") {
  CHECK(text::split("", ',') == Words{""});
  CHECK(text::split("a,,b", ',') == Words{"a", "", "b"});
  CHECK(text::split("a,", ',') == Words{"a", ""});
  CHECK(text::join(Words{"a", "b", "c"}, ", ") == "a, b, c");
  CHECK(text::join(Words{}, ", ").empty());
}

TEST_CASE("lower and upper leave other bytes alone") {
  CHECK(text::lower("FD_Loop-Ä") == "fd_loop-Ä");
  CHECK(text::upper("ft_raw-ä") == "FT_RAW-ä");
}

TEST_CASE("printable keeps text and escapes what steers a terminal") {
  CHECK(text::printable("/srv/größe 漢字 😀") == "/srv/größe 漢字 😀");
  CHECK(text::printable("a\nb\033[31m\x7f") == "a\\x0ab\\x1b[31m\\x7f");
  CHECK(text::printable(std::string_view("\0x", 2)) == "\\x00x");
  CHECK(text::printable("\xc2\x9b"
                        "1m") ==
        "\\xc2\\x9b"
        "1m");  // C1: CSI
  CHECK(text::printable("\xe2\x80\xae"
                        "x") == "\\xe2\\x80\\xaex");            // right-to-left override
  CHECK(text::printable("\xe2\x80\xa8") == "\\xe2\\x80\\xa8");  // line separator
}

TEST_CASE("bytes that are not UTF-8 are escaped one by one") {
  for (const char *bad :
       {"\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    CHECK_FALSE(text::is_printable_utf8(bad));
    CHECK(text::is_printable_utf8(text::printable(bad)));
  }
  CHECK(text::printable("a\xff"
                        "b") ==
        "a\\xff"
        "b");
  CHECK(text::is_printable_utf8("größe"));
  CHECK_FALSE(text::is_printable_utf8("a\tb"));
}

TEST_CASE("nearest first, equal distances in the given order") {
  CHECK(text::nearest_first("FD_LOPO", {"FD_BLKTAP", "FD_LOOP", "FT_RAW"}) ==
        Words{"FD_LOOP", "FD_BLKTAP", "FT_RAW"});
  CHECK(text::nearest_first("x", {"b", "a"}) == Words{"b", "a"});
}

TEST_CASE("did_you_mean finds slips only") {
  const Words words{"driver", "filetype", "size", "mode"};
  CHECK(text::did_you_mean("drvier", words) == "driver");
  CHECK(text::did_you_mean("filetyp", words) == "filetype");
  CHECK(text::did_you_mean("Size", words) == "size");
  CHECK(text::did_you_mean("banana", words).empty());
  CHECK(text::did_you_mean("", words).empty());
}
