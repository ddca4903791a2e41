// SPDX-License-Identifier: MIT
#include "core/base/size.hpp"

#include <doctest/doctest.h>

using namespace vbd;

namespace {
constexpr std::uint64_t kM = 1024 * 1024, kG = kM * 1024, kT = kG * 1024;

std::uint64_t good(std::string_view text, SizeStyle style) {
  const auto size = parse_size(text, style);
  INFO(std::string(text));
  REQUIRE(size.ok());
  return *size;
}
}  // namespace

TEST_CASE("instance sizes are MiB without a unit, units in any case") {
  CHECK(good("1024", SizeStyle::instance) == kG);
  CHECK(good("5G", SizeStyle::instance) == 5 * kG);
  CHECK(good("5gb", SizeStyle::instance) == 5 * kG);
  CHECK(good("5GiB", SizeStyle::instance) == 5 * kG);
  CHECK(good("3m", SizeStyle::instance) == 3 * kM);
  CHECK(good("3Mib", SizeStyle::instance) == 3 * kM);
  CHECK(good("2t", SizeStyle::instance) == 2 * kT);
  CHECK(good("1.5g", SizeStyle::instance) == kG + kG / 2);
  CHECK(good(".5g", SizeStyle::instance) == kG / 2);
  CHECK(good("0.5m", SizeStyle::instance) == kM / 2);
}

TEST_CASE("a decimal is rounded up to a whole sector") {
  CHECK(good("1.3g", SizeStyle::instance) == 1395864576);  // 1395864371.2
  CHECK(good("0.0000000000001m", SizeStyle::instance) == 512);
  CHECK(good("1.0000000000000", SizeStyle::instance) == kM);
}

TEST_CASE("plain sizes are bytes or whole numbers with a suffix") {
  CHECK(good("0", SizeStyle::plain) == 0);
  CHECK(good("513", SizeStyle::plain) == 513);
  CHECK(good("4K", SizeStyle::plain) == 4096);
  CHECK(good("4k", SizeStyle::plain) == 4096);
  CHECK(good("2M", SizeStyle::plain) == 2 * kM);
  CHECK(good("2G", SizeStyle::plain) == 2 * kG);
  CHECK(good("2T", SizeStyle::plain) == 2 * kT);
  CHECK(good("18446744073709551615", SizeStyle::plain) == UINT64_MAX);
}

TEST_CASE("what is no size is refused with usage's exit code") {
  for (const char *text : {"", " 1", "1 ", "+1", "-1", "1.5", "1x", "0x10", "1KiB", "G",
                           "18446744073709551616", "16777216T", "99999999999999999999999"}) {
    INFO(text);
    const auto size = parse_size(text, SizeStyle::plain);
    REQUIRE_FALSE(size.ok());
    CHECK(size.error().is(kBadSize));
    CHECK(size.error().exit() == Exit::usage);
  }
  for (const char *text : {"", ".", "1.2.3", "1 g", "1k", "1p", "g", "17592186044416", "1e3", "1\n"}) {
    INFO(text);
    CHECK_FALSE(parse_size(text, SizeStyle::instance).ok());
  }
}

TEST_CASE("an image's size is 512 bytes to 2^63-512 in whole sectors") {
  CHECK(*parse_image_size("512", SizeStyle::plain) == 512);
  CHECK(*parse_image_size("9223372036854775296", SizeStyle::plain) == kMaxImageSize);
  for (const char *text : {"0", "511", "513", "9223372036854775297", "9223372036854775808", "8388608T"}) {
    INFO(text);
    CHECK_FALSE(parse_image_size(text, SizeStyle::plain).ok());
  }
  CHECK_FALSE(parse_image_size("0", SizeStyle::instance).ok());
}

TEST_CASE("sizes for people") {
  CHECK(format_size(0) == "0 B");
  CHECK(format_size(1023) == "1023 B");
  CHECK(format_size(1024) == "1.0 KiB");
  CHECK(format_size(5 * kG) == "5.0 GiB");
  CHECK(format_size(kG + kG / 2) == "1.5 GiB");
  CHECK(format_size(kM - 1) == "1.0 MiB");
  CHECK(format_size(UINT64_MAX) == "16.0 EiB");
}
