// SPDX-License-Identifier: MIT
// Refcounts of 1 to 64 bits inside a refcount block: below 8 bits the lowest bits of a byte come first, from
// 8 bits on they are big endian (docs/interop/qcow2.txt, "Host cluster management").
#pragma once

#include <cstdint>

#include "bytes.hpp"

namespace vbdkit::qcow {

[[nodiscard]] inline uint64_t get_refcount(const unsigned char *block, uint32_t order,
                                           uint64_t index) noexcept {
  switch (order) {
    case 3:
      return block[index];
    case 4:
      return load_be<uint16_t>(block + index * 2);
    case 5:
      return load_be<uint32_t>(block + index * 4);
    case 6:
      return load_be<uint64_t>(block + index * 8);
    default:
      break;
  }
  const uint64_t bit = index << order;
  const unsigned mask = (1u << (1u << order)) - 1;
  return (static_cast<unsigned>(block[bit / 8]) >> (bit % 8)) & mask;
}

inline void set_refcount(unsigned char *block, uint32_t order, uint64_t index, uint64_t value) noexcept {
  switch (order) {
    case 3:
      block[index] = static_cast<unsigned char>(value);
      return;
    case 4:
      store_be<uint16_t>(block + index * 2, static_cast<uint16_t>(value));
      return;
    case 5:
      store_be<uint32_t>(block + index * 4, static_cast<uint32_t>(value));
      return;
    case 6:
      store_be<uint64_t>(block + index * 8, value);
      return;
    default:
      break;
  }
  const uint64_t bit = index << order;
  const unsigned mask = ((1u << (1u << order)) - 1) << (bit % 8);
  const unsigned kept = static_cast<unsigned>(block[bit / 8]) & ~mask;
  block[bit / 8] = static_cast<unsigned char>(kept | ((static_cast<unsigned>(value) << (bit % 8)) & mask));
}

}  // namespace vbdkit::qcow
