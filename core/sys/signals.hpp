// SPDX-License-Identifier: MIT
// Ctrl-C and its like, asked for instead of dying of: for work that is to be undone first. Make one before
// threads are started, so that they have the same mask.
#pragma once

#include <string>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

/// While it lives, SIGINT, SIGTERM, SIGHUP and SIGQUIT wait at `fd`. One that came is noted for the end of
/// the program (end_as_asked) when this goes, for by then the caller has acted on it.
class Signals {
 public:
  Signals();
  Signals(const Signals &) = delete;
  Signals &operator=(const Signals &) = delete;
  ~Signals();

  /// Readable when one came; for RunSpec::cancel and poll. -1 when the system has no signalfd.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// kHelperCancelled when one came. Does not take it away.
  [[nodiscard]] Result<void> check() const;

 private:
  Fd fd_;
  bool blocked_[4] = {};  ///< by us, and to be unblocked again
};

}  // namespace vbd::sys
