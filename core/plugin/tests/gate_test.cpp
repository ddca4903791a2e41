// SPDX-License-Identifier: MIT
// Calls that a filetype declares parallel beside calls that it does not.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <thread>

#include "core/plugin/gate.hpp"

namespace {
using vbd::plugin::Gate;
}

TEST_CASE("gate: a call that is not parallel meets no other one, whatever the mixture") {
  Gate gate;
  std::atomic<int> together{0}, alone{0};
  std::atomic<unsigned> broken{0};
  std::array<std::thread, 6> threads;
  for (unsigned i = 0; i < threads.size(); ++i) {
    threads[i] = std::thread([&, i] {
      for (unsigned turn = 0; turn < 3000; ++turn) {
        const bool by_itself = (turn + i) % 3 == 0;
        const auto pass = gate.enter(by_itself);
        auto &mine = by_itself ? alone : together;
        ++mine;
        if (alone > 1 || (alone == 1 && together > 0)) ++broken;
        if (turn % 64 == 0) std::this_thread::yield();
        --mine;
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  CHECK(broken == 0);
}

TEST_CASE("gate: calls that are parallel do meet") {
  Gate gate;
  std::barrier both(2);
  const auto inside = [&] {
    const auto pass = gate.enter(false);
    both.arrive_and_wait();  // for ever, if the gate let in one at a time
  };
  std::thread other(inside);
  inside();
  other.join();
}

TEST_CASE("gate: a call that a call of the same plugin leads to does not wait for itself") {
  Gate gate;
  for (const bool outer_alone : {false, true}) {
    for (const bool inner_alone : {false, true}) {
      const auto outer = gate.enter(outer_alone);
      const auto inner = gate.enter(inner_alone);
    }
  }
  std::atomic<bool> entered{false};
  std::thread waits;
  {
    const auto outer = gate.enter(true);
    { const auto inner = gate.enter(false); }
    waits = std::thread([&] {
      const auto pass = gate.enter(false);
      entered = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK_FALSE(entered);  // the inner one's end was not the outer one's
  }
  waits.join();
  CHECK(entered);
}
