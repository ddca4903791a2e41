// SPDX-License-Identifier: MIT
#include "core/sys/pool.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "core/sys/interrupt.hpp"

using namespace vbd::sys;
using std::chrono::milliseconds;
using End = PoolItem::End;

namespace {
bool goes_on(std::size_t, const std::vector<std::size_t> &) {
  return false;
}
}  // namespace

TEST_CASE("answers by item, any bytes, longer than a pipe") {
  const auto task = [](std::size_t item) { return std::string(item * 100000, static_cast<char>(item)); };
  const auto items = run_pool({4, 2, {}, {}}, task, goes_on);
  REQUIRE(items.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(items[i].end == End::answered);
    CHECK(items[i].answer == task(i));
  }
  CHECK(run_pool({0, 2, {}, {}}, task, goes_on).empty());
}

TEST_CASE("no more than so many at a time, and one that dies is alone with it") {
  std::size_t most = 0;
  const auto task = [](std::size_t item) {
    ::usleep(50000);
    if (item == 1) ::raise(SIGKILL);
    return std::string("x");
  };
  const auto items = run_pool({7, 3, {}, {}}, task, [&](std::size_t, const auto &running) {
    most = std::max(most, running.size());
    return false;
  });
  CHECK(most <= 3);
  for (std::size_t i = 0; i < 7; ++i) CHECK(items[i].end == (i == 1 ? End::died : End::answered));
}

TEST_CASE("one that takes longer than its share does not keep the next") {
  const auto task = [](std::size_t item) {
    for (int i = 0; item == 0 && i < 100; ++i) ::usleep(100000);
    return std::string("x");
  };
  std::vector<std::size_t> left;
  const auto items = run_pool({3, 1, milliseconds(600), milliseconds(300)}, task,
                              [&](std::size_t done, const auto &running) {
                                if (done == 2) left = running;
                                return false;
                              });
  CHECK(left == std::vector<std::size_t>{0});
  CHECK(items[0].end == End::abandoned);
  CHECK(items[1].end == End::answered);
  CHECK(items[2].end == End::answered);
}

TEST_CASE("told to stop: none is begun any more, those that run are asked to end") {
  const Interrupts interrupts;
  const auto task = [](std::size_t) {
    while (Interrupts::came() == 0) ::usleep(1000);
    return std::string("asked");
  };
  const auto items = run_pool({4, 2, {}, milliseconds(10000)}, task,
                              [](std::size_t, const auto &running) { return running.size() == 2; });
  for (std::size_t i = 0; i < 4; ++i) CHECK(items[i].end == (i < 2 ? End::answered : End::not_begun));
  CHECK(items[1].answer == "asked");
}
