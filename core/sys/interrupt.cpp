// SPDX-License-Identifier: MIT
#include "core/sys/interrupt.hpp"

#include <atomic>

namespace vbd::sys {
namespace {

constexpr std::array<int, 4> kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
std::atomic<int> g_came{0}, g_end{0};
static_assert(std::atomic<int>::is_always_lock_free);

void note(int number) {
  g_came.store(number, std::memory_order_relaxed);
  note_end(number);
}

}  // namespace

Interrupts::Interrupts() {
  g_came = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
}

Interrupts::~Interrupts() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
}

void note_end(int number) {
  g_end.store(number, std::memory_order_relaxed);
}

void end_as_asked() {
  const int number = g_end.load(std::memory_order_relaxed);
  if (number == 0) return;
  ::signal(number, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, number);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(number);
}

int Interrupts::came() {
  return g_came.load(std::memory_order_relaxed);
}

}  // namespace vbd::sys
