// SPDX-License-Identifier: MIT
// Repairs of versions 2 and 3. Each switches from a consistent state to another by one write inside a sector,
// or only makes counts and hints agree with what the tables say.
#pragma once

#include "header.hpp"

namespace vbdkit::qcow {

/// A new set of refcount structures behind the end of the file, counting what the tables use; the old set is
/// free.
[[nodiscard]] Status rebuild_refcounts(const File &file, Header *header, vbd_error *err);
/// The "exactly one reference" hints of the active tables, from the counts.
[[nodiscard]] Status repair_copied(const File &file, Header *header, vbd_error *err);
/// Neither dirty nor corrupt any more.
[[nodiscard]] Status clear_marks(const File &file, Header *header, vbd_error *err);

}  // namespace vbdkit::qcow
