// SPDX-License-Identifier: MIT
// SIGINT, SIGTERM, SIGHUP and SIGQUIT as a wish that work looks at, so that it can clean up after itself.
#pragma once

#include <signal.h>

#include <array>

namespace vbd::sys {

/// While it lives, the first of these signals is only noted; a second one ends the process as without this.
/// One at a time. A signal that was ignored before stays ignored.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts &) = delete;
  Interrupts &operator=(const Interrupts &) = delete;
  /// The signal that came, or 0. Any thread.
  [[nodiscard]] static int came();

 private:
  std::array<struct sigaction, 4> before_{};
};

/// A signal that asked the program to end, and was acted on. Async-signal-safe.
void note_end(int number);
/// After all is cleaned up: when such a signal came, the process dies by it, so that who started it, a
/// shell's loop say, ends too.
void end_as_asked();

}  // namespace vbd::sys
