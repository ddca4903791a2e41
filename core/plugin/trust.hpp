// SPDX-License-Identifier: MIT
// May this file's code run in our process? The walk of sys/trusted.hpp, at its strictest: no link and no
// sticky directory on the way. Thread-safe.
#pragma once

#include <string>

#include "core/base/result.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::plugin {

inline constexpr ErrorKind kUntrusted{"plugin.untrusted", Exit::refused};

/// Opens the file read-only after the walk. `path` must be absolute and normal; its directory canonical.
/// kUntrusted says which component and why; kNotFound (sys) when it is not there.
[[nodiscard]] Result<sys::Fd> open_trusted(const std::string &path);

}  // namespace vbd::plugin
