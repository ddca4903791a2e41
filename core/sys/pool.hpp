// SPDX-License-Identifier: MIT
// Several pieces of work at the same time, each in a child process of its own: for work that is not
// thread-safe, and that must not take the others with it when it hangs or dies. The children die with their
// parent, which must be single-threaded.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace vbd::sys {

struct PoolSpec {
  std::size_t items = 0;
  std::size_t most = 1;  ///< at the same time
  /// What all of it may take. One that takes longer than its share of it no longer counts as one of `most`,
  /// so that the last ones have a share as well. 0: no such thing.
  std::chrono::milliseconds limit{0};
  /// After the limit, or after `watch` has said stop: then those that still run are abandoned. 0: never.
  std::chrono::milliseconds patience{0};
};
struct PoolItem {
  enum class End { not_begun, answered, died, abandoned };
  End end = End::not_begun;
  std::string answer;
};

/// Item -> answer, in a child. SIGTERM is as in the caller, the terminal's signals are ignored.
using PoolTask = std::function<std::string(std::size_t item)>;
/// Asked several times a second; `running`: in the order in which they were begun. True: no more are begun,
/// and those that run get a SIGTERM, once.
using PoolWatch = std::function<bool(std::size_t done, const std::vector<std::size_t> &running)>;

/// Begun in order; what became of each, by item.
[[nodiscard]] std::vector<PoolItem> run_pool(const PoolSpec &spec, const PoolTask &task,
                                             const PoolWatch &watch);

}  // namespace vbd::sys
