// SPDX-License-Identifier: MIT
// Back end qsd, its companion vbdkit-flush: what it is for stands in flush.cpp. It ends with the daemon; its
// own death costs no more than the seconds until the next attach, or nothing where the guest flushes.
#pragma once

#include <string>

#include "driver.hpp"
#include "qsd_process.hpp"

namespace blktap {

/// Started for the daemon `process` that serves the file `fuse`, unless one of an earlier attach lives.
[[nodiscard]] std::int32_t keep_flushing(const Call &call, const std::string &fuse, const std::string &unit,
                                         const QsdProcess &process);
/// After the daemon has ended. An error only when it can't be ended.
[[nodiscard]] std::int32_t stop_flushing(const Call &call);

}  // namespace blktap
