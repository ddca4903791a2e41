// SPDX-License-Identifier: MIT
// Room on the host's filesystems: what is free, and what thin images have been promised. Reads only.
#pragma once

#include <string>

#include "core/config/settings.hpp"

namespace vbd::instance {

/// Less than min_free is left on the filesystem of the open `directory`, which is `path`; else "".
[[nodiscard]] std::string space_warning(const config::Settings &settings, int directory,
                                        const std::string &path);

}  // namespace vbd::instance
