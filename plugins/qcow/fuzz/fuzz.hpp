// SPDX-License-Identifier: MIT
// What the fuzz targets share: the input is the image file, in memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sdk/testkit/files.hpp"
#include "sdk/testkit/plugin.hpp"

namespace qcow_fuzz {

inline vbdkit::testkit::Filetype filetype() {
  return {vbd_plugin_v1()->filetype, nullptr};
}

inline vbdkit::testkit::SparseBytes image(const std::uint8_t *data, std::size_t size) {
  vbdkit::testkit::SparseBytes bytes;
  bytes.write(data, size, 0);
  // Images that QEMU makes end in a hole: a sparse tail lets small inputs have large tables.
  if (size > 0 && (data[size - 1] & 1) != 0) bytes.resize(size + (16u << 20));
  return bytes;
}

inline std::int32_t control(vbd_op op, const vbd_file *file, std::uint32_t must) {
  vbdkit::testkit::Request request(file, 0, must);
  vbdkit::testkit::Results results;
  vbdkit::testkit::ErrorBox error;
  return op(nullptr, request.get(), results.sink(), error.get());
}

}  // namespace qcow_fuzz
