// SPDX-License-Identifier: MIT
// Fills a new image, which reads as zeros, with what another one stores.
#pragma once

#include "core/image/open.hpp"
#include "core/image/watch.hpp"

namespace vbd::image {

struct FillOptions {
  bool detect_zeroes = false;
  bool write_early = false;  ///< the target is synced afterwards: let the kernel begin at once
};
/// See copy(). `what`: for the message of a cancelled one.
[[nodiscard]] Result<void> fill(const OpenImage &source, OpenImage &target, const FillOptions &options,
                                const std::string &what, const Watch &watch);

}  // namespace vbd::image
