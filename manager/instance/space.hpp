// SPDX-License-Identifier: MIT
// Room on the host's filesystems: what is free, and what thin images have been promised. Reads only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config/settings.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::instance {

/// Less than min_free is left on the filesystem of the open `directory`, which is `path`; else "".
[[nodiscard]] std::string space_warning(const config::Settings &settings, int directory,
                                        const std::string &path);

/// A filesystem of this host on which instances live, and what their images may still grow by.
struct Room {
  std::string directory;  ///< one on it
  std::uint64_t total = 0, free = 0,
                promised = 0;  ///< bytes; promised: sizes of disks less what is allocated
};
/// One for each filesystem that holds a directory of `entries`; those that do not answer are left out.
[[nodiscard]] std::vector<Room> room_left(const config::Settings &settings,
                                          const std::vector<Entry> &entries);

}  // namespace vbd::instance
