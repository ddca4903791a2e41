// SPDX-License-Identifier: MIT
#include "cli/progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/terminal.hpp"
#include "core/base/text.hpp"
#include "core/json/json.hpp"

namespace vbd::cli {
namespace {

constexpr std::chrono::milliseconds kFirst{1000}, kLineEvery{200}, kJsonEvery{1000};
constexpr std::size_t kLongestWhat = 40;

std::string percent(std::uint64_t done, std::uint64_t total) {
  const double part = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  char text[16];
  std::snprintf(text, sizeof text, "%5.1f%%", std::min(100.0, part * 100));
  return text;
}

std::string left(std::uint64_t done, std::uint64_t total, double seconds) {
  if (done == 0 || done > total) return {};
  const double rest = seconds / static_cast<double>(done) * static_cast<double>(total - done);
  const auto whole = static_cast<long long>(std::min(std::ceil(rest), 359999.0));
  char text[64];
  std::snprintf(text, sizeof text, ", %lld:%02lld:%02lld left", whole / 3600, whole / 60 % 60, whole % 60);
  return text;
}

}  // namespace

Progress::Progress(const Session &session, std::string operation, std::string what)
    : operation_(std::move(operation)),
      what_(text::printable(what)),
      begin_(Clock::now()),
      next_(begin_ + kFirst) {
  const std::string wish = session.args().value("progress", "auto");
  if (wish == "json") style_ = Style::json;
  if (wish == "auto" && is_terminal(kStderr)) style_ = Style::line;
}

Progress::~Progress() {
  if (printed_ && style_ == Style::line) write_stderr("\r\033[K");
}

image::Watch Progress::watch() {
  return [this](std::uint64_t done, std::uint64_t total) { return report(done, total); };
}

bool Progress::report(std::uint64_t done, std::uint64_t total) {
  const bool stop = sys::Interrupts::came() != 0;
  if (style_ == Style::none || stop) return stop;
  const std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;  // another thread is at it
  const auto now = Clock::now();
  last_ = std::max(last_, done);  // a thread may have been held up before it came here
  if (now >= next_) print(last_, total, now);
  return false;
}

void Progress::print(std::uint64_t done, std::uint64_t total, Clock::time_point now) {
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  write_stderr(style_ == Style::json ? json(done, total, seconds) : line(done, total, seconds));
  printed_ = true;
  next_ = now + (style_ == Style::json ? kJsonEvery : kLineEvery);
}

/// Fits a terminal of 80 columns.
std::string Progress::line(std::uint64_t done, std::uint64_t total, double seconds) const {
  std::string what = what_;
  if (what.size() > kLongestWhat) {
    std::size_t from = what.size() - kLongestWhat;
    while (from < what.size() && (static_cast<unsigned char>(what[from]) & 0xc0) == 0x80) ++from;
    what = "..." + what.substr(from);
  }
  return text::cat("\r", operation_, " ", what, percent(done, total), left(done, total, seconds), "\033[K");
}

std::string Progress::json(std::uint64_t done, std::uint64_t total, double seconds) const {
  const json::Object line{{"schema", "vbdkit.progress/1"},
                          {"operation", operation_},
                          {"done", done},
                          {"total", total},
                          {"seconds", std::round(seconds * 10) / 10}};
  return json::dump(line, 0) + "\n";
}

}  // namespace vbd::cli
