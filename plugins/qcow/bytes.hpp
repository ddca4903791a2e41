// SPDX-License-Identifier: MIT
// Big-endian fields, as every number in qcow files is stored, and arithmetic that can't wrap. Any thread.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace vbdkit::qcow {

template <class T>
[[nodiscard]] inline T swap_if_little(T value) noexcept {
  if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
  if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(value));
  if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(value));
}

template <class T>
[[nodiscard]] inline T load_be(const void *at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof value);
  return swap_if_little(value);
}

template <class T>
inline void store_be(void *at, T value) noexcept {
  value = swap_if_little(value);
  std::memcpy(at, &value, sizeof value);
}

[[nodiscard]] inline uint32_t be32(const void *base, std::size_t offset) noexcept {
  return load_be<uint32_t>(static_cast<const unsigned char *>(base) + offset);
}
[[nodiscard]] inline uint64_t be64(const void *base, std::size_t offset) noexcept {
  return load_be<uint64_t>(static_cast<const unsigned char *>(base) + offset);
}

/// `count` units of `unit` (a power of two) cover `bytes`; never wraps.
[[nodiscard]] constexpr uint64_t units_of(uint64_t bytes, uint64_t unit) noexcept {
  return bytes / unit + (bytes % unit != 0 ? 1 : 0);
}

/// The next multiple of `unit`; the caller knows that it does not wrap (file offsets are below 2^63).
[[nodiscard]] constexpr uint64_t round_up(uint64_t value, uint64_t unit) noexcept {
  return units_of(value, unit) * unit;
}

[[nodiscard]] constexpr bool is_aligned(uint64_t value, uint64_t unit) noexcept {
  return (value & (unit - 1)) == 0;
}

/// [offset, offset + length) lies within [0, limit), without wrapping.
[[nodiscard]] constexpr bool fits(uint64_t offset, uint64_t length, uint64_t limit) noexcept {
  return length <= limit && offset <= limit - length;
}

[[nodiscard]] constexpr bool overlaps(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length) noexcept {
  return a_length != 0 && b_length != 0 && a < b + b_length && b < a + a_length;
}

}  // namespace vbdkit::qcow
