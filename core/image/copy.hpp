// SPDX-License-Identifier: MIT
// An image becomes another one, of any filetype, with the same bytes for the guest and no reference to
// anything. It is filled under a temporary name and gets its own only when it is whole.
#pragma once

#include "core/image/image.hpp"
#include "core/image/open.hpp"
#include "core/image/watch.hpp"

namespace vbd::image {

struct CopySpec {
  CreateSpec target;           ///< its size does not count: it is the source's
  bool detect_zeroes = false;  ///< look for zeros in what the source stores, and do not store them
};
/// `source`: open and locked against writers by the caller. What the source does not store or knows to be
/// zeros is not stored in the target; extents go over inside the kernel where both sides can. All processors
/// where bytes must be packed or unpacked; memory: 1 MiB a thread, or the target's unit where that is more.
/// kCancelled when `watch` says stop: then and after any error nothing is left. `path`: for messages.
[[nodiscard]] Result<void> copy(plugin::Registry &registry, const OpenImage &source, int directory,
                                const std::string &name, const std::string &path, const CopySpec &spec,
                                const Watch &watch);

}  // namespace vbd::image
