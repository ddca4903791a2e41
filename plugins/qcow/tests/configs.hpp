// SPDX-License-Identifier: MIT
// The kinds of image that the random tests go through, and how long they may take.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "tools.hpp"

namespace qcow_test {

struct Config {
  const char *name;
  Pairs params;
  uint64_t bytes;
  uint64_t max_bytes = 0;  ///< resized up to this
};

/// Small, so that tables fill up and move: an L2 table of 512-byte clusters covers 32 KiB.
inline const std::vector<Config> &configs() {
  static const std::vector<Config> list = {
      {"v3", {}, 1u << 20, 3u << 20},
      {"v3 512", {{"cluster_size", "512"}}, 512u << 10, 1u << 20},
      {"v3 4k", {{"cluster_size", "4096"}}, 2u << 20, 4u << 20},
      {"v3 2M", {{"cluster_size", "2097152"}}, (5u << 20) + 512},
      {"v2", {{"version", "2"}, {"cluster_size", "4096"}}, 1u << 20, 3u << 20},
      {"v2 512", {{"version", "2"}, {"cluster_size", "512"}}, (300u << 10) + 512, 600u << 10},
      {"v1", {{"version", "1"}}, 1u << 20, 5u << 20},
      {"v1 512", {{"version", "1"}, {"cluster_size", "512"}}, 300u << 10, 900u << 10},
      {"v3 extended", {{"extended_l2", "true"}, {"cluster_size", "16384"}}, 1u << 20, 2u << 20},
      {"v3 zlib", {{"compression", "zlib"}, {"cluster_size", "4096"}}, 512u << 10, 1u << 20},
      {"v3 zstd", {{"compression", "zstd"}, {"cluster_size", "16384"}}, 1u << 20, 2u << 20},
      {"v3 zlib 1 bit",
       {{"compression", "zlib"}, {"cluster_size", "512"}, {"refcount_bits", "1"}},
       256u << 10},
      {"v3 64 bit", {{"cluster_size", "512"}, {"refcount_bits", "64"}}, 256u << 10, 512u << 10},
      {"v1 zlib", {{"version", "1"}, {"compression", "zlib"}}, 512u << 10},
      {"v3 metadata", {{"preallocation", "metadata"}, {"cluster_size", "4096"}}, 512u << 10, 1u << 20},
      {"v3 falloc",
       {{"preallocation", "falloc"}, {"cluster_size", "16384"}, {"extended_l2", "true"}},
       512u << 10},
      {"v2 full lazy",
       {{"preallocation", "full"}, {"cluster_size", "4096"}, {"lazy_refcounts", "true"}},
       512u << 10},
  };
  return list;
}

/// Seconds for a test that takes as long as it is given: `normal`, or a share of VBD_SOAK_SECONDS.
inline double seconds_for(double normal, double share) {
  const char *soak = std::getenv("VBD_SOAK_SECONDS");
  return soak == nullptr ? normal : std::strtod(soak, nullptr) * share;
}

class Deadline {
 public:
  explicit Deadline(double seconds)
      : end_(std::chrono::steady_clock::now() +
             std::chrono::milliseconds(static_cast<long>(seconds * 1000))) {}
  [[nodiscard]] bool passed() const { return std::chrono::steady_clock::now() > end_; }

 private:
  std::chrono::steady_clock::time_point end_;
};

/// What `qemu-img check` says of an image: "" when it is clean or only leaks.
std::string qemu_check(const vbdkit::testkit::SparseBytes &bytes, bool version1, bool leaks_allowed);

}  // namespace qcow_test
