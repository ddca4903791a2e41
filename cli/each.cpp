// SPDX-License-Identifier: MIT
#include "cli/each.hpp"

#include <charconv>

#include "cli/progress.hpp"
#include "core/base/text.hpp"
#include "core/sys/interrupt.hpp"
#include "core/sys/pool.hpp"

namespace vbd::cli {
namespace {

using Clock = std::chrono::steady_clock;
using End = sys::PoolItem::End;
using text::cat;

/// After the time-out: a guest that is ended by force, and its disks, may take this much longer.
constexpr std::chrono::minutes kPatience{5};

// What a child says: strings, each behind its length; any bytes. "done" and the steps, or "error" and the
// error's id, exit code, message and hint.
std::string packed(const std::vector<std::string> &words) {
  std::string out;
  for (const auto &word : words) out += cat(word.size(), ":", word);
  return out;
}

std::vector<std::string> unpacked(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    std::size_t size = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    const auto from = static_cast<std::size_t>(end - text.data()) + 1;
    if (error != std::errc{} || from > text.size() || size > text.size() - from) return {};
    words.emplace_back(text.substr(from, size));
    text.remove_prefix(from + size);
  }
  return words;
}

std::string said(const Result<instance::Plan> &done) {
  std::vector<std::string> words{"done"};
  if (done) {
    words.insert(words.end(), done->begin(), done->end());
    return packed(words);
  }
  const Error &error = done.error();
  return packed(
      {"error", std::string(error.id()), cat(static_cast<int>(error.exit())), error.message(), error.hint()});
}

Error not_finished(const EachSpec &spec, const std::string &name, End end) {
  const std::string hint =
      cat("run 'vbd instance ", spec.operation, " ", name, "' again: it goes on from there");
  if (end == End::abandoned) {
    return Error(sys::kHelperTimeout,
                 cat("instance ", name, ": not done ", kPatience.count(),
                     " minutes after it should have been; its storage may hang"),
                 hint);
  }
  return Error(sys::kHelperFailed, cat("instance ", name, ": the process that worked on it was ended"), hint);
}

Result<instance::Plan> heard(const EachSpec &spec, const std::string &name, const sys::PoolItem &item) {
  if (item.end == End::not_begun) {
    return Error(spec.left, cat("instance ", name, ": ", spec.left_says, ", for vbd was told to end before"),
                 cat("vbd instance ", spec.operation, " ", name));
  }
  const auto words = unpacked(item.answer);
  if (item.end != End::answered || words.empty()) return not_finished(spec, name, item.end);
  if (words[0] == "done") return instance::Plan(words.begin() + 1, words.end());
  if (words.size() != 5 || words[2].size() != 1) return not_finished(spec, name, End::died);
  return Error(ErrorKind{words[1], static_cast<Exit>(words[2][0] - '0')}, words[3], words[4]);
}

}  // namespace

std::vector<report::Each> do_each(const Session &session, const std::vector<std::string> &names,
                                  const EachSpec &spec, const EachAct &act) {
  Progress progress(session, spec.operation, "");
  const auto end = Clock::now() + spec.limit;
  const auto watch = [&](std::size_t done, const std::vector<std::size_t> &running) {
    std::vector<std::string> awaited;
    for (const std::size_t item : running) awaited.push_back(names[item]);
    const bool late = spec.ends_at_limit && spec.limit.count() > 0 && Clock::now() >= end;
    return progress.awaits(done, names.size(), awaited) || late;
  };
  const sys::PoolSpec pool{names.size(), spec.most, spec.ends_at_limit ? decltype(spec.limit){} : spec.limit,
                           kPatience};
  const auto items = sys::run_pool(
      pool, [&](std::size_t item) { return said(act(names[item])); }, watch);
  std::vector<report::Each> each;
  for (std::size_t i = 0; i < names.size(); ++i) each.push_back({names[i], heard(spec, names[i], items[i])});
  return each;
}

}  // namespace vbd::cli
