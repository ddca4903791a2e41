// SPDX-License-Identifier: MIT
// What --all does: one verb for several instances at the same time, each in a process of its own
// (core/sys/pool.hpp). Not thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "cli/report/report.hpp"
#include "cli/session.hpp"

namespace vbd::cli {

struct EachSpec {
  std::string operation;  ///< "stop": for the progress
  ErrorKind left;         ///< of one that was not begun, when the user or the time-out ended it all
  std::string left_says;  ///< "not asked to shut down"
  std::size_t most = 1;   ///< at the same time
  std::chrono::milliseconds limit{0};  ///< for all of them; 0: none
  bool ends_at_limit = false;          ///< else what runs knows by itself when its time is up
};
/// In a process of its own; asks sys::Interrupts whether it is to end.
using EachAct = std::function<Result<instance::Plan>(const std::string &name)>;

/// In the order of `names`, whichever ended first; one that fails does not keep the others.
[[nodiscard]] std::vector<report::Each> do_each(const Session &session, const std::vector<std::string> &names,
                                                const EachSpec &spec, const EachAct &act);

}  // namespace vbd::cli
