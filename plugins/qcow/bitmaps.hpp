// SPDX-License-Identifier: MIT
// The directory of persistent dirty bitmaps (docs/interop/qcow2.txt, "Bitmaps"): read and checked, never
// interpreted.
#pragma once

#include <functional>

#include "header.hpp"

namespace vbdkit::qcow {

struct Bitmap {
  uint64_t entry_offset = 0;  ///< of the directory entry in the file
  uint64_t table_offset = 0;
  uint64_t table_bytes = 0;
  uint32_t flags = 0;
};
inline constexpr uint32_t kBitmapInUse = 1;
inline constexpr uint64_t kBitmapTableReserved = 0xff000000000001feull;

[[nodiscard]] Status for_each_bitmap(const File &file, const Header &header, vbd_error *err,
                                     const std::function<Status(const Bitmap &)> &each);
/// Says that no bitmap knows the writes that follow; their clusters stay counted.
[[nodiscard]] Status mark_bitmaps_in_use(const File &file, const Header &header, vbd_error *err);

}  // namespace vbdkit::qcow
