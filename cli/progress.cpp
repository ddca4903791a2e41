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
  if (!is_time(now)) return false;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  print(
      style_ == Style::json ? json::dump(json(last_, total, seconds), 0) + "\n" : line(last_, total, seconds),
      now);
  return false;
}

bool Progress::awaits(std::size_t done, std::size_t total, const std::vector<std::string> &names) {
  const bool stop = sys::Interrupts::came() != 0;
  const auto now = Clock::now();
  if (style_ == Style::none || !is_time(now)) return stop;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  if (style_ == Style::line) {
    print(line(done, total, seconds, names), now);
    return stop;
  }
  json::Value value = json(done, total, seconds);
  json::Array waiting(names.begin(), names.end());
  print(json::dump(value.set("waiting", std::move(waiting)), 0) + "\n", now);
  return stop;
}

void Progress::print(const std::string &text, Clock::time_point now) {
  write_stderr(text);
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

/// The first names that it waits for, as many as fit.
std::string Progress::line(std::size_t done, std::size_t total, double seconds,
                           const std::vector<std::string> &names) const {
  std::string list;
  std::size_t shown = 0;
  for (; shown < names.size(); ++shown) {
    const std::string name = text::printable(names[shown]);
    if (shown > 0 && list.size() + name.size() + 2 > kLongestWhat) break;
    list += text::cat(shown == 0 ? "" : ", ", name);
  }
  if (list.size() > kLongestWhat) list = list.substr(0, kLongestWhat - 3) + "...";
  if (shown < names.size()) list += text::cat(" +", names.size() - shown);
  return text::cat("\r", operation_, ": ", total - done, " of ", total, " left, waiting for ", list, ", ",
                   static_cast<long long>(seconds), " s\033[K");
}

json::Value Progress::json(std::uint64_t done, std::uint64_t total, double seconds) const {
  return json::Object{{"schema", "vbdkit.progress/1"},
                      {"operation", operation_},
                      {"done", done},
                      {"total", total},
                      {"seconds", std::round(seconds * 10) / 10}};
}

}  // namespace vbd::cli
