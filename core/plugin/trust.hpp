// SPDX-License-Identifier: MIT
// May this file's code run in our process? Walks from "/" with O_PATH|O_NOFOLLOW: every directory and the
// file owned by root (or by the effective user when that is not root), not writable by group or others (a
// group 0 that may write is root's), the file regular, no link, no set-id bits. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/sys/fd.hpp"

namespace vbd::plugin {

inline constexpr ErrorKind kUntrusted{"plugin.untrusted", Exit::refused};

/// How a refusal is said, for other files that root's programs run.
struct TrustWords {
  ErrorKind kind = kUntrusted;
  std::string_view thing = "plugin";
  std::string_view refused = "not loaded";
};

/// Opens the file read-only after the walk. `path` must be absolute and normal; its directory canonical.
/// kUntrusted says which component and why; kNotFound (sys) when it is not there.
[[nodiscard]] Result<sys::Fd> open_trusted(const std::string &path, const TrustWords &words = {});

}  // namespace vbd::plugin
