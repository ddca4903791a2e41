// SPDX-License-Identifier: MIT
// Facts about this host and this process, and the clock. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"

namespace vbd::sys {

[[nodiscard]] std::string host_name();
/// /proc/sys/kernel/random/boot_id
[[nodiscard]] Result<std::string> boot_id();
[[nodiscard]] Result<std::string> new_uuid();  ///< random, version 4, lower case
[[nodiscard]] std::string now_rfc3339();       ///< "2026-01-31T12:00:00Z"
[[nodiscard]] bool is_root();                  ///< effective uid 0
/// Where the running vbd was installed: "/usr" for "/usr/bin/vbd"; from /proc/self/exe.
[[nodiscard]] std::string install_prefix();
/// Field 22 of /proc/PID/stat; nothing when there is no such process.
[[nodiscard]] std::optional<std::uint64_t> process_start_time(std::int64_t pid);

}  // namespace vbd::sys
