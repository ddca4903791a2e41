// SPDX-License-Identifier: MIT
// What is known of a guest of this host: RUN_DIR/instances/UUID/guest.json, beside its config file, log and
// control socket. Believed only where nobody but root and the effective user can write. A note of another
// boot counts as none. Written under the instance's operation lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/run.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::instance {

/// A note whose process is another one's by all that can be seen.
inline constexpr ErrorKind kBadNote{"instance.bad_note", Exit::failed};

struct GuestRecord {
  std::string uuid, name;
  std::string hypervisor;      ///< as the configuration had it
  std::string started;         ///< RFC 3339, UTC
  bool up = false;             ///< false: a start has begun
  sys::Process process;        ///< of a guest that is a process
  bool has_uuid = false;       ///< its config gave it the instance's UUID
  bool held = false;           ///< an export has paused it, and lets it go on
  std::string directory = {};  ///< of its files, when that is not guest_directory(): found again (world.hpp)
  std::string command = {};    ///< found again: its process's
  /// The process has RUN_DIR/instances/UUID/guard open: that tells it from any other. Not so where its
  /// program closes what it inherits.
  bool guarded = true;
};

[[nodiscard]] std::string guest_directory(const config::Settings &settings, const std::string &uuid);
/// Where its control socket is.
[[nodiscard]] std::string directory_of(const config::Settings &settings, const GuestRecord &guest);
[[nodiscard]] Result<std::optional<GuestRecord>> read_guest(const config::Settings &settings,
                                                            const std::string &uuid);
/// All notes of this boot, of instances that are known and others; what can't be read is left out.
[[nodiscard]] Result<std::vector<GuestRecord>> noted_guests(const config::Settings &settings);
/// guest.json as text: nothing when it is of another boot. `path` is for messages.
[[nodiscard]] Result<std::optional<GuestRecord>> parse_guest(std::string_view content,
                                                             const std::string &uuid, const std::string &boot,
                                                             const std::string &path);
[[nodiscard]] std::string format_guest(const GuestRecord &guest, const std::string &boot);
/// Makes the directory (0700).
[[nodiscard]] Result<void> write_guest(const config::Settings &settings, const GuestRecord &guest);
/// All that is in the directory, and it. Missing is fine.
[[nodiscard]] Result<void> drop_guest(const config::Settings &settings, const std::string &uuid);

}  // namespace vbd::instance
