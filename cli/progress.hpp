// SPDX-License-Identifier: MIT
// --progress: how far work with images is, or which instances it waits for, on stderr, once it has taken
// longer than a second; and the end that SIGINT, SIGTERM and SIGHUP put to it.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "cli/session.hpp"
#include "core/image/watch.hpp"
#include "core/sys/interrupt.hpp"

namespace vbd::cli {

class Progress {
 public:
  /// `operation`: one word, for programs; `what`: for people.
  Progress(const Session &session, std::string operation, std::string what);
  /// Takes the line away again.
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// To be given to the work; valid as long as this lives.
  [[nodiscard]] image::Watch watch();
  /// The same of work with several things that have names: those that it waits for. True: it is to end.
  [[nodiscard]] bool awaits(std::size_t done, std::size_t total, const std::vector<std::string> &names);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Style { none, line, json };
  bool report(std::uint64_t done, std::uint64_t total);
  /// Once a second has passed, and then now and then.
  [[nodiscard]] bool is_time(Clock::time_point now) const { return now >= next_; }
  void print(const std::string &text, Clock::time_point now);
  [[nodiscard]] std::string line(std::uint64_t done, std::uint64_t total, double seconds) const;
  [[nodiscard]] std::string line(std::size_t done, std::size_t total, double seconds,
                                 const std::vector<std::string> &names) const;
  [[nodiscard]] json::Value json(std::uint64_t done, std::uint64_t total, double seconds) const;

  sys::Interrupts interrupts_;
  const std::string operation_, what_;
  Style style_ = Style::none;
  const Clock::time_point begin_;
  std::mutex mutex_;
  Clock::time_point next_;
  std::uint64_t last_ = 0;
  bool printed_ = false;
};

}  // namespace vbd::cli
