// SPDX-License-Identifier: MIT
// What instances' images take on disk. Reads only; not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/config/settings.hpp"
#include "manager/instance/catalog.hpp"
#include "manager/instance/storage.hpp"

namespace vbd::instance {

/// Bytes on disk, one for each of the record's disks; nothing where it is not known.
using Usage = std::vector<std::optional<std::uint64_t>>;

/// By entry, asked for as in_children() does it; what is unreachable or foreign is not.
[[nodiscard]] std::vector<Usage> see_usage(const config::Settings &settings,
                                           const std::vector<Entry> &entries, Silent *silent = nullptr);

}  // namespace vbd::instance
