// SPDX-License-Identifier: MIT
// Sizes against an independent reading, and what makes hostile text fit for a terminal.
#include <algorithm>

#include "core/base/size.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;

namespace {

__extension__ using Wide = unsigned __int128;

/// A number of at most 25 digits with one letter of KMGT, in bytes.
bool reads_as(std::string_view text, Wide &out) {
  static constexpr std::string_view kUnits = "kmgt", kUpper = "KMGT";
  unsigned shift = 0;
  if (!text.empty()) {
    const std::size_t unit = std::min(kUnits.find(text.back()), kUpper.find(text.back()));
    if (unit != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(unit) + 1);
      text.remove_suffix(1);
    }
  }
  if (text.empty() || text.size() > 25) return false;
  out = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    out = out * 10 + static_cast<unsigned>(c - '0');
  }
  out <<= shift;
  return true;
}

void check_size(std::string_view text, SizeStyle style) {
  const auto size = parse_size(text, style);
  const auto image = parse_image_size(text, style);
  fuzz::good(size);
  if (fuzz::good(image)) {
    fuzz::require(size.ok() && *size == *image, "an image's size that is none");
    fuzz::require(*image >= kSectorSize && *image <= kMaxImageSize && *image % kSectorSize == 0,
                  "an image's size out of its bounds");
  }
  if (size) fuzz::require(text::is_printable_utf8(format_size(*size)), "a size that can't be shown");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  check_size(text, SizeStyle::plain);
  check_size(text, SizeStyle::instance);
  Wide expected = 0;
  const auto read = parse_size(text, SizeStyle::plain);
  if (reads_as(text, expected) && expected <= UINT64_MAX) {
    fuzz::require(read.ok() && *read == static_cast<std::uint64_t>(expected), "a size read as another");
  } else if (text.size() <= 25) {
    fuzz::require(!read.ok(), "a size that is none");
  }
  const std::string shown = text::printable(text);
  fuzz::require(text::is_printable_utf8(shown), "printable text that is not");
  if (text::is_printable_utf8(text)) fuzz::require(shown == text, "printable text that was changed");
  const std::vector<std::string> pieces = text::split(text, ',');
  fuzz::require(text::join(pieces, ",") == text, "pieces that are not the whole");
  if (size < 200) {
    const std::string near = text::did_you_mean(text, pieces);
    fuzz::require(near.empty() || std::find(pieces.begin(), pieces.end(), near) != pieces.end(),
                  "a suggestion that is no candidate");
  }
  return 0;
}
