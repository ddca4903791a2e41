// SPDX-License-Identifier: MIT
// The plugin's options, as the host checks and prints them.
#pragma once

#include <vbdkit/plugin.h>

namespace vbdkit::qcow {

inline constexpr uint32_t kAtCreate = VBD_OPT_PER_IMAGE | VBD_OPT_CREATE;

inline constexpr vbd_option kOptions[] = {
    {"version", "qcow version: 1, 2 or 3", "3", "1|2|3", 0, 0, VBD_T_ENUM, kAtCreate},
    {"cluster_size",
     "bytes of a cluster, a power of two; 64K if not given, 4K in version 1, which takes up to 64K", nullptr,
     nullptr, 512, 2u << 20, VBD_T_SIZE, kAtCreate},
    {"refcount_bits", "width of a reference count, a power of two (version 3)", "16", nullptr, 1, 64,
     VBD_T_U64, kAtCreate},
    {"lazy_refcounts", "QEMU may delay writing reference counts (version 3)", "false", nullptr, 0, 0,
     VBD_T_BOOL, kAtCreate},
    {"extended_l2", "32 subclusters in each cluster (version 3, clusters from 16K)", "false", nullptr, 0, 0,
     VBD_T_BOOL, kAtCreate},
    {"compression", "type of compressed clusters in the new image: none leaves zlib, zstd needs version 3",
     "none", "none|zlib|zstd", 0, 0, VBD_T_ENUM, VBD_OPT_PER_IMAGE},
};

}  // namespace vbdkit::qcow
