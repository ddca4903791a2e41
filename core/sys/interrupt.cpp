// SPDX-License-Identifier: MIT
#include "core/sys/interrupt.hpp"

#include <atomic>

namespace vbd::sys {
namespace {

constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};
std::atomic<int> g_came{0};
static_assert(std::atomic<int>::is_always_lock_free);

void note(int number) {
  g_came.store(number, std::memory_order_relaxed);
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

int Interrupts::came() {
  return g_came.load(std::memory_order_relaxed);
}

}  // namespace vbd::sys
