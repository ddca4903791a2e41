// SPDX-License-Identifier: MIT
// Sizes are uint64_t bytes everywhere; units exist only here, at the edge. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace vbd {

inline constexpr ErrorKind kBadSize{"usage.size", Exit::usage};

/// How a number without a suffix is read, and which suffixes there are.
enum class SizeStyle {
  instance,  ///< as cluster managers have it: none = MiB; m g t, mb mib ..., any case, decimals allowed,
             ///< powers of 1024
  plain      ///< bytes, or an integer with K M G T (powers of 1024)
};

inline constexpr std::uint64_t kSectorSize = 512;
/// The largest size of an image: the kernel's loff_t, cut to whole sectors.
inline constexpr std::uint64_t kMaxImageSize = (std::uint64_t{1} << 63) - kSectorSize;

/// Any non-negative size. Overflow, signs, blanks and trailing text are refused.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text, SizeStyle style);

/// The size of an image: as parse_size, and in 512..2^63-512 and a multiple of 512.
[[nodiscard]] Result<std::uint64_t> parse_image_size(std::string_view text, SizeStyle style);

/// "5.0 GiB", "512 B": for people, never parsed by us.
[[nodiscard]] std::string format_size(std::uint64_t bytes);

}  // namespace vbd
