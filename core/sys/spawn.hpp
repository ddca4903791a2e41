// SPDX-License-Identifier: MIT
// Programs that outlive vbd: the real runner's spawn, alive and stop.
#pragma once

#include "core/sys/run.hpp"

namespace vbd::sys {

[[nodiscard]] Result<Process> spawn_process(const SpawnSpec &spec);
[[nodiscard]] bool process_alive(const Process &process);
[[nodiscard]] Result<void> stop_process(const Process &process, std::chrono::milliseconds patience);

}  // namespace vbd::sys
