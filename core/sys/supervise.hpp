// SPDX-License-Identifier: MIT
// The process between vbd and a supervised program, for the real runner only. It outlives a killed vbd just
// long enough to end what vbd had started, and keeps vbd's locks until then.
#pragma once

#include <sys/types.h>

#include <vector>

#include "core/sys/exec.hpp"

namespace vbd::sys {

/// In the child that fork made: runs the program in a session of its own, ends with its exit status (128 + N
/// for signal N), what it left running first. When the other end of `lifeline` is closed, the program and all
/// that came of it are ended: SIGTERM, then SIGKILL. `held`: kept open; sorted. Allocates nothing.
[[noreturn]] void supervise_in_child(ChildPlan &plan, int report, int lifeline, const std::vector<int> &held);

}  // namespace vbd::sys
