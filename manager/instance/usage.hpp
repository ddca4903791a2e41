// SPDX-License-Identifier: MIT
// What instances' images take on disk. Reads only; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/config/settings.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::instance {

/// Bytes on disk, one for each of the record's disks; nothing where it is not known.
using Usage = std::vector<std::optional<std::uint64_t>>;

/// By entry. Each directory is looked at in a child that is abandoned after 2 s; one that is unreachable or
/// foreign not at all.
[[nodiscard]] std::vector<Usage> see_usage(const config::Settings &settings,
                                           const std::vector<Entry> &entries);

}  // namespace vbd::instance
