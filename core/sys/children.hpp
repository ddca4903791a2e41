// SPDX-License-Identifier: MIT
// Work that may hang for ever (a directory on a dead server) is done in child processes that can be
// abandoned: a process in such a read can't even be killed. The calling process must be single-threaded.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace vbd::sys {

/// How long a storage may take to answer before it counts as dead.
inline constexpr std::chrono::milliseconds kStoragePatience{2000};

/// Item -> answer, in a child.
using ChildTask = std::function<std::string(std::size_t item)>;

/// Answers by item, nothing for those that took longer than `patience`. The items of a group share one child
/// and are done in order, groups at the same time; what stood behind a hanging item is tried again, cut into
/// smaller groups, a few times: where a whole group hangs, it is given up after a second look.
[[nodiscard]] std::vector<std::optional<std::string>> run_in_children(
    std::size_t items, const std::vector<std::vector<std::size_t>> &groups, const ChildTask &task,
    std::chrono::milliseconds patience);

}  // namespace vbd::sys
