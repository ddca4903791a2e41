// SPDX-License-Identifier: MIT
// What can go wrong at the door to the system.
#pragma once

#include "core/base/error.hpp"

namespace vbd::sys {

inline constexpr ErrorKind kNotFound{"path.not_found", Exit::not_found};
inline constexpr ErrorKind kExists{"path.exists", Exit::busy};
inline constexpr ErrorKind kOutside{"path.outside_allowed_dirs", Exit::refused};
inline constexpr ErrorKind kSymlink{"path.symlink", Exit::refused};
inline constexpr ErrorKind kNotRegular{"path.not_regular_file", Exit::refused};
inline constexpr ErrorKind kUnsafeParent{"path.unsafe_parent", Exit::refused};
inline constexpr ErrorKind kNoSpace{"io.no_space", Exit::failed};
inline constexpr ErrorKind kReadOnly{"io.read_only_filesystem", Exit::failed};
inline constexpr ErrorKind kPermission{"io.permission", Exit::failed};
inline constexpr ErrorKind kIo{"io.failed", Exit::failed};
inline constexpr ErrorKind kLocked{"lock.held", Exit::busy};
inline constexpr ErrorKind kInUse{"image.in_use", Exit::busy};
inline constexpr ErrorKind kHelperMissing{"helper.missing", Exit::failed};
inline constexpr ErrorKind kHelperFailed{"helper.failed", Exit::failed};
inline constexpr ErrorKind kHelperTimeout{"helper.timeout", Exit::failed};
inline constexpr ErrorKind kHelperCancelled{"helper.cancelled", Exit::failed};
inline constexpr ErrorKind kPlayback{"helper.playback", Exit::failed};

/// The kind that fits an errno value: ENOENT, EEXIST, ENOSPC/EDQUOT/EFBIG, EROFS, EACCES/EPERM, ELOOP,
/// EBUSY, else kIo; with "what: text" as message.
[[nodiscard]] Error errno_error(std::string_view what, int error_number);

}  // namespace vbd::sys
