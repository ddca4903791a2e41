// SPDX-License-Identifier: MIT
// Files and directories that are believed, or written, with our rights: nobody but root and the effective
// user (other_writer) may be able to write to them or to exchange them. The walk goes from "/" one component
// at a time, O_PATH and never following a link blindly, and looks at every directory on the way. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

/// RUN, STATE, log and export directories, and what lies in them.
inline constexpr ErrorKind kUntrustedPlace{"place.untrusted", Exit::refused};

/// How a refusal is said, and how strict the way is.
struct TrustWords {
  ErrorKind kind = kUntrustedPlace;
  std::string_view thing = "directory";   ///< "put the plugin into a directory that only root can change"
  std::string_view refused = "not used";  ///< "PATH: not loaded: ..."
  /// Links on the way are followed where the directory that holds them is trusted; without, one is an error.
  bool follow_links = true;
  /// A sticky directory such as /tmp is fine on the way where its entry is ours (unlink(2), EPERM).
  bool sticky = true;
};
inline constexpr TrustWords kRunDirectory{kUntrustedPlace, "run_dir"};
inline constexpr TrustWords kStateDirectory{kUntrustedPlace, "state_dir"};
inline constexpr TrustWords kLogDirectory{kUntrustedPlace, "log_dir"};
inline constexpr TrustWords kExportDirectory{kUntrustedPlace, "export_dir"};

/// A regular file without set-id bits, open for reading, after the walk. `path` must be absolute; without
/// follow_links also normal. words.kind names the component and says why; kNotFound when it is not there.
[[nodiscard]] Result<Fd> open_trusted_file(const std::string &path, const TrustWords &words);
/// Its whole content, refused above `limit` bytes.
[[nodiscard]] Result<std::string> read_trusted_file(const std::string &path, std::size_t limit,
                                                    const TrustWords &words);
/// A directory, open for reading where that is allowed, after the walk.
[[nodiscard]] Result<Fd> open_trusted_directory(const std::string &path, const TrustWords &words);
/// The same; what is missing of the path is made, each below a directory that was looked at.
[[nodiscard]] Result<Fd> make_trusted_directory(const std::string &path, std::uint32_t mode,
                                                const TrustWords &words);

/// A regular file of one name in a directory from one of the calls above: no link, writable by nobody else.
/// `shown` is its path for messages.
[[nodiscard]] Result<Fd> open_trusted_at(int directory, const std::string &name, const std::string &shown,
                                         const TrustWords &words);
[[nodiscard]] Result<std::string> read_trusted_at(int directory, const std::string &name,
                                                  const std::string &shown, std::size_t limit,
                                                  const TrustWords &words);
/// A directory of one name in such a directory; the same for it.
[[nodiscard]] Result<Fd> open_trusted_directory_at(int directory, const std::string &name,
                                                   const std::string &shown, const TrustWords &words);

}  // namespace vbd::sys
