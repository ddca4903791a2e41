// SPDX-License-Identifier: MIT
// What this room reads from /proc and /sys; for its own files only. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/sys/files.hpp"

namespace vbd::sys {

/// A line of /proc/self/mountinfo, unescaped (proc(5)).
struct MountEntry {
  std::uint64_t id = 0;
  dev_t device = 0;
  std::string target, options, type, source;
};
[[nodiscard]] Result<std::vector<MountEntry>> read_mountinfo();
/// Lines that are none are left out.
[[nodiscard]] std::vector<MountEntry> parse_mountinfo(std::string_view content);

/// Processes by number, ascending.
[[nodiscard]] std::vector<std::int64_t> process_ids();
/// /proc/PID/comm, printable; "?" when gone.
[[nodiscard]] std::string process_command(std::int64_t pid);
/// "process 123 (qemu-io), process 7 (vbd)"
[[nodiscard]] std::string describe_processes(const std::vector<std::int64_t> &pids);

struct ProcessState {
  char state = '?';              ///< R, S, Z, ...
  std::uint64_t start_time = 0;  ///< clock ticks since boot
};
[[nodiscard]] std::optional<ProcessState> process_state(std::int64_t pid);
/// The content of /proc/PID/stat.
[[nodiscard]] std::optional<ProcessState> parse_process_state(std::string_view content);

/// What one descriptor of a process, or its working or root directory, refers to.
struct OpenFile {
  dev_t device = 0;  ///< that the inode lies on
  std::uint64_t inode = 0;
  dev_t special = 0;  ///< of a device node, else 0
  bool block = false;
  std::string fd;  ///< "7"; "" for the working and root directory
};
/// Calls `visit` for everything that `pid` has open; false when it may not be looked at.
bool visit_open_files(std::int64_t pid, const std::function<void(const OpenFile &)> &visit);

/// A "lock:" line of /proc/PID/fdinfo/N: a range that this open file description holds.
struct HeldRange {
  bool write = false;
  std::uint64_t first = 0, last = 0;  ///< bytes, inclusive
};
[[nodiscard]] std::vector<HeldRange> held_ranges(std::int64_t pid, const std::string &fd);
[[nodiscard]] std::vector<HeldRange> parse_held_ranges(std::string_view fdinfo);
/// Whether descriptor `fd` of `pid` may write.
[[nodiscard]] bool opened_for_writing(std::int64_t pid, const std::string &fd);
/// Processes, this one included, with a lock on `file` that overlaps first..last.
[[nodiscard]] std::vector<std::int64_t> lock_holders(const FileId &file, std::uint64_t first,
                                                     std::uint64_t last);

/// Processes other than this one with anything open on the filesystem with this st_dev.
[[nodiscard]] std::vector<std::int64_t> processes_on_filesystem(dev_t device);

}  // namespace vbd::sys
