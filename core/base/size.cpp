// SPDX-License-Identifier: MIT
#include "core/base/size.hpp"

#include <array>
#include <cstdio>
#include <limits>
#include <string>

#include "core/base/text.hpp"

namespace vbd {
namespace {

constexpr std::uint64_t kKib = 1024, kMib = kKib * 1024, kGib = kMib * 1024, kTib = kGib * 1024;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

Error bad(std::string_view text, SizeStyle style, std::string_view why) {
  const bool instance = style == SizeStyle::instance;
  return {kBadSize, text::cat("size \"", text::printable(text), "\": ", why),
          instance ? "write a number of MiB, or a number with m, g or t, such as 512m or 1.5g"
                   : "write a number of bytes, or a whole number with K, M, G or T, such as 512M"};
}

/// The factor of a suffix, 0 when there is no such one.
std::uint64_t factor_of(std::string_view suffix, SizeStyle style) {
  const std::string low = text::lower(suffix);
  if (style == SizeStyle::instance) {  // the units of gnt-instance(8), --disk size=
    if (low.empty() || low == "m" || low == "mb" || low == "mib") return kMib;
    if (low == "g" || low == "gb" || low == "gib") return kGib;
    if (low == "t" || low == "tb" || low == "tib") return kTib;
    return 0;
  }
  if (low.empty()) return 1;
  if (low == "k") return kKib;
  if (low == "m") return kMib;
  if (low == "g") return kGib;
  return low == "t" ? kTib : 0;
}

bool times(std::uint64_t a, std::uint64_t b, std::uint64_t &out) {
  return !__builtin_mul_overflow(a, b, &out);
}
bool plus(std::uint64_t a, std::uint64_t b, std::uint64_t &out) {
  return !__builtin_add_overflow(a, b, &out);
}

/// Bytes in the fraction 0.DIGITS of `factor`, rounded up to a whole sector, so that 1.3g stays a valid
/// size. Digits beyond the twelfth only decide about rounding up: factor * 10^12 needs 128 bits.
std::uint64_t fraction_bytes(std::string_view digits, std::uint64_t factor) {
  __extension__ using Wide = unsigned __int128;
  Wide numerator = 0, scale = 1;
  bool more = false;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i >= 12) {
      more = more || digits[i] != '0';
      continue;
    }
    numerator = numerator * 10 + static_cast<unsigned>(digits[i] - '0');
    scale *= 10;
  }
  const Wide unit = scale * kSectorSize;
  const Wide product = numerator * factor;
  Wide sectors = (product + unit - 1) / unit;
  if (more && product % unit == 0) ++sectors;
  return static_cast<std::uint64_t>(sectors * kSectorSize);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, SizeStyle style) {
  std::size_t at = 0;
  std::uint64_t whole = 0;
  bool fits = true;
  while (at < text.size() && is_digit(text[at])) {
    fits = fits && times(whole, 10, whole) && plus(whole, static_cast<std::uint64_t>(text[at] - '0'), whole);
    ++at;
  }
  std::size_t digits = at;
  std::string_view fraction;
  if (style == SizeStyle::instance && at < text.size() && text[at] == '.') {
    const std::size_t from = ++at;
    while (at < text.size() && is_digit(text[at])) ++at;
    fraction = text.substr(from, at - from);
    digits += fraction.size();
  }
  if (digits == 0) return bad(text, style, text.empty() ? "is empty" : "is not a number");
  const std::uint64_t factor = factor_of(text.substr(at), style);
  if (factor == 0)
    return bad(text, style, text::cat("unknown unit \"", text::printable(text.substr(at)), "\""));
  std::uint64_t bytes = 0;
  if (!fits || !times(whole, factor, bytes) || !plus(bytes, fraction_bytes(fraction, factor), bytes))
    return bad(text, style, "is too large");
  return bytes;
}

Result<std::uint64_t> parse_image_size(std::string_view text, SizeStyle style) {
  Result<std::uint64_t> size = parse_size(text, style);
  if (!size) return size;
  if (*size == 0) return bad(text, style, "an image has at least 512 bytes");
  if (*size > kMaxImageSize)
    return bad(text, style, text::cat("is over the largest size, ", kMaxImageSize, " bytes"));
  if (*size % kSectorSize != 0) return bad(text, style, text::cat(*size, " bytes is not a multiple of 512"));
  return size;
}

std::string format_size(std::uint64_t bytes) {
  static constexpr std::array<const char *, 7> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < kKib) return text::cat(bytes, " B");
  std::size_t unit = 0;
  std::uint64_t whole = bytes, rest = 0;
  while (whole >= kKib) {
    rest = whole % kKib;
    whole /= kKib;
    ++unit;
  }
  std::uint64_t tenths = (rest * 10 + kKib / 2) / kKib;
  if (tenths == 10) {
    tenths = 0;
    if (++whole == kKib && unit + 1 < kUnits.size()) {
      whole = 1;
      ++unit;
    }
  }
  return text::cat(whole, '.', tenths, ' ', kUnits[unit]);
}

}  // namespace vbd
