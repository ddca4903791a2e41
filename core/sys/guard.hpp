// SPDX-License-Identifier: MIT
// A lock file whose open, locked descriptor is handed to a long-lived process: the lock lives exactly as long
// as that process and those that inherit from it, so it is found again also when whoever started it was
// killed before it could write down a process id. Thread-safe.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/run.hpp"

namespace vbd::sys {

/// Made when missing, and locked; kLocked while a process still has it.
[[nodiscard]] Result<Fd> make_guard(int directory, const std::string &name);
/// Whether this process has it open; also true where that can't be seen (without root).
[[nodiscard]] bool has_guard(int directory, const std::string &name, const Process &process);
/// Processes other than this one that have it locked; none when the file is missing. An error when it is
/// locked and nobody can be seen to have it (without root).
[[nodiscard]] Result<std::vector<Process>> guarded_processes(int directory, const std::string &name);

/// A file that a process of this user has open and locked, by its name when it was opened: also one that is
/// deleted by now.
struct LockedFile {
  std::string path;
  Process process;
  std::string command;
};
/// Those whose name `wanted` takes. Other users' processes are never asked: they may call files as they like.
[[nodiscard]] std::vector<LockedFile> locked_files(const std::function<bool(const std::string &)> &wanted);

}  // namespace vbd::sys
