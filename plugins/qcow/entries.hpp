// SPDX-License-Identifier: MIT
// Entries of L1 and L2 tables, decoded into one form for all versions and back. Pure functions. Any thread.
#pragma once

#include <cstdint>

#include "header.hpp"

namespace vbdkit::qcow {

inline constexpr uint64_t kCopied = 1ull << 63;      // exactly one reference
inline constexpr uint64_t kPackedFlag = 1ull << 62;  // versions 2 and 3
inline constexpr uint64_t kPackedFlagV1 = 1ull << 63;
inline constexpr uint64_t kOffsetMask = 0x00fffffffffffe00ull;  // bits 9 to 55
inline constexpr uint64_t kZeroFlag = 1;                        // version 3, not with extended entries

/// What one guest cluster is. A cluster has 32 subclusters with extended L2 entries, else one: itself.
struct Entry {
  uint64_t host = 0;          ///< of the cluster, 0: none; packed: the first byte
  uint64_t packed_bytes = 0;  ///< > 0: compressed, at most so many bytes
  uint32_t data = 0;          ///< subclusters whose bytes are at host
  uint32_t zero = 0;          ///< subclusters that read as zero
  bool copied = false;        ///< may be overwritten in place

  [[nodiscard]] bool packed() const noexcept { return packed_bytes != 0; }
  [[nodiscard]] bool stored() const noexcept { return host != 0; }
  friend bool operator==(const Entry &, const Entry &) = default;
};

/// The masks' full value and the size of what one bit stands for.
[[nodiscard]] inline uint32_t all_subclusters(const Header &h) noexcept {
  return h.extended_l2() ? ~0u : 1u;
}
[[nodiscard]] inline uint64_t subcluster_size(const Header &h) noexcept {
  return h.extended_l2() ? h.cluster_size() / 32 : h.cluster_size();
}

/// Null, or the reason code of the rule that the entry breaks. `file_size` is the image's present one.
[[nodiscard]] const char *decode_entry(const Header &h, uint64_t file_size, uint64_t word, uint64_t bitmap,
                                       Entry *entry) noexcept;
void encode_entry(const Header &h, const Entry &entry, uint64_t *word, uint64_t *bitmap) noexcept;

/// Where the L2 table of an L1 entry is (0: none). Null or a reason code, as above.
[[nodiscard]] const char *decode_l1(const Header &h, uint64_t file_size, uint64_t word,
                                    uint64_t *table) noexcept;

/// A packed cluster's descriptor, from the length that its bytes really have.
[[nodiscard]] Entry packed_entry(const Header &h, uint64_t offset, uint64_t bytes) noexcept;

}  // namespace vbdkit::qcow
