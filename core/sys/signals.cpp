// SPDX-License-Identifier: MIT
#include "core/sys/signals.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "core/sys/interrupt.hpp"

namespace vbd::sys {
namespace {

constexpr std::array<int, 4> kAsked = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

sigset_t asked_set() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kAsked) ::sigaddset(&set, signal);
  return set;
}

}  // namespace

Signals::Signals() {
  const sigset_t set = asked_set();
  Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return;  // then they end us, as they do elsewhere
  sigset_t before;
  if (::pthread_sigmask(SIG_BLOCK, &set, &before) != 0) return;
  for (std::size_t i = 0; i < kAsked.size(); ++i) blocked_[i] = ::sigismember(&before, kAsked[i]) == 0;
  fd_ = std::move(fd);
}

Signals::~Signals() {
  if (!fd_) return;
  signalfd_siginfo info;
  for (;;) {
    const ssize_t got = ::read(fd_.get(), &info, sizeof info);
    if (got > 0) note_end(static_cast<int>(info.ssi_signo));
    if (got <= 0 && errno != EINTR) break;
  }
  sigset_t ours;
  ::sigemptyset(&ours);
  for (std::size_t i = 0; i < kAsked.size(); ++i) {
    if (blocked_[i]) ::sigaddset(&ours, kAsked[i]);
  }
  ::pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
}

Result<void> Signals::check() const {
  pollfd polled{fd_.get(), POLLIN, 0};
  if (::poll(&polled, 1, 0) > 0 && polled.revents != 0)
    return Error(kHelperCancelled, "interrupted by a signal");
  return {};
}

}  // namespace vbd::sys
