// SPDX-License-Identifier: MIT
// What `info`, `probe` and `geometry` say of an image. Reads the header and the snapshot table, no more.
#pragma once

#include "header.hpp"

namespace vbdkit::qcow {

[[nodiscard]] Status probe(const File &file, vbd_sink *sink, vbd_error *err);
[[nodiscard]] Status info(const File &file, vbd_sink *sink, vbd_error *err);
/// "prop.tap" and "prop.qemu" of this version.
void put_properties(const Header &header, Sink *sink);
/// "reference.N.*": what the host must hand over. The format is the constant where one of ours reads it.
void put_references(const Header &header, Sink *sink);
/// The index of the reference in that list.
[[nodiscard]] inline uint32_t data_reference_index(const Header &header) {
  return header.has_backing() ? 1 : 0;
}

}  // namespace vbdkit::qcow
