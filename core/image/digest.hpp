// SPDX-License-Identifier: MIT
// A digest of what the guest sees, the same for every filetype and however much of it is holes: SHA-256 of
// each block of 64 KiB, a binary tree over these, and the root over its top and the size. docs/digest.md says
// it byte by byte.
#pragma once

#include <cstdint>
#include <functional>

#include "core/base/result.hpp"
#include "core/base/sha256.hpp"
#include "core/image/open.hpp"
#include "core/image/watch.hpp"

namespace vbd::image {

inline constexpr std::uint64_t kDigestBlock = 65536;  ///< bytes

struct ImageDigest {
  Sha256 root{};
  std::uint64_t blocks = 0;  ///< with anything but zeros
};

/// Called for each block that holds anything but zeros, in order; an error ends the digest with it. One call
/// at a time, from any thread.
using BlockVisitor = std::function<Result<void>(std::uint64_t number, const Sha256 &digest)>;

/// On all processors where the image is parallel, less than 256 KiB of memory for each. Holes are not read.
/// `visit` may be empty; `watch` is told bytes of the virtual size.
[[nodiscard]] Result<ImageDigest> digest(const OpenImage &image, const BlockVisitor &visit,
                                         const Watch &watch = {});

}  // namespace vbd::image
