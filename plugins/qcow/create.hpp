// SPDX-License-Identifier: MIT
// New images. The file is empty and published by the host after a sync, so nothing here is ordered.
#pragma once

#include "header.hpp"

namespace vbdkit::qcow {

enum class Preallocation { off, metadata, falloc, full };

struct CreateOptions {
  uint32_t version = 3;
  uint32_t cluster_bits = 0;  ///< 0: 64 KiB, version 1: 4 KiB
  uint32_t refcount_order = 4;
  uint8_t compression = 0;  ///< the header's type
  bool lazy_refcounts = false;
  bool extended_l2 = false;
  Preallocation preallocation = Preallocation::off;
};

/// Options of a request, each checked and checked against the others.
[[nodiscard]] Status parse_create_options(const vbd_request *request, CreateOptions *options, vbd_error *err);

/// Writes header and tables of an image that reads as zeros (preallocation is not done here).
[[nodiscard]] Status write_new_image(const File &file, uint64_t bytes, const CreateOptions &options,
                                     vbd_error *err);

}  // namespace vbdkit::qcow
