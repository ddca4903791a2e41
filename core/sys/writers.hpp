// SPDX-License-Identifier: MIT
// Who, besides root and the effective user, can write here? The one answer for plugins, images, guest OS
// definitions, profiles, configuration files, RUN, STATE, log and export directories. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vbd::sys {

struct OtherWriter {
  std::string says;  ///< "is writable by user 65534 through its access list": what follows the file's name
  std::string mend;  ///< the command that takes it away, but for the file's name: "setfacl -b"
};

/// A POSIX access list as the kernel hands it out.
struct AccessList {
  enum class State { none, read, unreadable };
  State state = State::none;
  std::string_view bytes;   ///< system.posix_acl_access
  bool other_kind = false;  ///< a list that only its server understands (NFSv4) decides as well
};

/// Of an open file or directory, O_PATH too: its owner, its mode, its access list. Group 0 is root's own.
/// What can't be looked at counts as a writer. A directory's default list is not asked: what we make below
/// one has mode 0600, 0644, 0700, 0750 or 0755, whose group bits become the new file's mask (acl(5), OBJECT
/// CREATION), so that a named user or group gets no right to write out of it.
[[nodiscard]] std::optional<OtherWriter> other_writer(int fd);

/// The same from what is known of it. `effective`: the effective user.
[[nodiscard]] std::optional<OtherWriter> judge_writers(std::uint32_t mode, std::uint32_t owner,
                                                       std::uint32_t group, std::uint32_t effective,
                                                       const AccessList &list);

}  // namespace vbd::sys
