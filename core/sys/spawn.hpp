// SPDX-License-Identifier: MIT
// Programs that outlive vbd: the real runner's spawn, alive and stop.
#pragma once

#include "core/sys/fd.hpp"
#include "core/sys/run.hpp"

namespace vbd::sys {

/// A program's log, appended to; made with mode 0600 when missing, a link is refused. "": /dev/null.
[[nodiscard]] Result<Fd> open_log(const std::string &path);

[[nodiscard]] Result<Process> spawn_process(const SpawnSpec &spec);
[[nodiscard]] bool process_alive(const Process &process);
/// A command line that runs `words` in the scope that the spec names.
[[nodiscard]] std::vector<std::string> scope_words(const SpawnSpec &spec, const std::string &systemd_run,
                                                   const std::vector<std::string> &words);
[[nodiscard]] Result<void> stop_process(const Process &process, std::chrono::milliseconds patience);

}  // namespace vbd::sys
