// SPDX-License-Identifier: MIT
// SHA-256 (FIPS 180-4) of bytes in memory, by the processor's own instructions where it has them. The only
// place that sees OpenSSL. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace vbd {

using Sha256 = std::array<unsigned char, 32>;

[[nodiscard]] Sha256 sha256(const void *bytes, std::size_t length);
/// 64 lower-case hexadecimal digits.
[[nodiscard]] std::string hex(const Sha256 &digest);

}  // namespace vbd
