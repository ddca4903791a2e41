// SPDX-License-Identifier: MIT
// The check operation, and the check that comes before the first write.
#pragma once

#include "header.hpp"

namespace vbdkit::qcow {

/// VBD_E_CORRUPT with the first reason that makes writing dangerous; leaks and missing hints are none.
[[nodiscard]] Status verify_for_writing(const File &file, const Header &header, vbd_error *err);

/// Puts "leaks", "errors", "finding.N", "leaks_repaired", "errors_repaired". `must`: VBD_MUST_REPAIR_*.
[[nodiscard]] Status check(const File &file, uint32_t must, vbd_sink *sink, vbd_error *err);

}  // namespace vbdkit::qcow
