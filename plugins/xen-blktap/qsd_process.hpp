// SPDX-License-Identifier: MIT
// Back end qsd, the process: qemu-storage-daemon's command line, and finding the one that serves a given FUSE
// file by the lock that it holds, also when a killed run had no time to record its pid.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blktap {

struct QsdPlan {
  std::string image, format;  ///< QEMU's driver
  std::string fuse;           ///< the file that becomes the disk
  std::string unit;           ///< the name under which the host runs it
  bool read_only = false;
  bool direct = true;  ///< the image past the page cache
};
/// QEMU's raw driver lets its file be shared with other writers (raw-format.c), so for it the daemon inherits
/// the descriptor that the host locked, and locks nothing itself.
[[nodiscard]] inline bool inherits_lock(const QsdPlan &plan) {
  return plan.format == "raw";
}
/// Explicit drivers, no backing file: nothing in the image can make it open a second one.
[[nodiscard]] std::vector<std::string> qsd_argv(const QsdPlan &plan);

struct QsdProcess {
  std::int64_t pid = 0;
  std::uint64_t start_time = 0;
};
/// Those that hold the lock of `fuse`. Never by what they are called: anybody can start a process with the
/// words of ours.
[[nodiscard]] std::vector<QsdProcess> find_qsd(const std::string &fuse);

/// A lock that every process of an attachment inherits, from the fork on, in the host's private directory.
[[nodiscard]] std::string life_path(const std::string &fuse);
/// The locked descriptor to hand on; -1 and errno: EWOULDBLOCK when a process lives.
[[nodiscard]] int take_life(const std::string &fuse);
[[nodiscard]] bool has_life(const std::string &fuse);

/// True when something is mounted on exactly this path.
[[nodiscard]] bool is_mounted(const std::string &path);
/// Unmounts what is mounted there, at once or when its last user goes, and removes the file and
/// the lock's.
[[nodiscard]] bool remove_fuse_file(const std::string &fuse);

}  // namespace blktap
