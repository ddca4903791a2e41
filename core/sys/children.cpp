// SPDX-License-Identifier: MIT
#include "core/sys/children.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/sys/fd.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;
using Answers = std::vector<std::optional<std::string>>;

using Groups = std::vector<std::vector<std::size_t>>;

constexpr std::size_t kMostChildren = 64;
constexpr unsigned kReapTurns = 20, kReapMicroseconds = 1000;
constexpr unsigned kRetries = 3;  // 64 children each time: enough for any number of items but few dead ones

/// One answer on the pipe: item and length as 64 bits of this machine, then the bytes.
struct Header {
  std::uint64_t item, length;
};

struct Child {
  pid_t pid = -1;
  Fd pipe;
  std::string buffer;
  Clock::time_point deadline;
};

bool write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// Descriptors are closed because an abandoned child would keep the locks that live in them, and the pipe
/// that whoever reads our output waits for the end of.
[[noreturn]] void child_main(int pipe, const std::vector<std::size_t> &items, const ChildTask &task) {
  constexpr int fd = 3;
  if (pipe != fd && ::dup2(pipe, fd) < 0) ::_exit(1);
  ::close_range(fd + 1, ~0U, 0);
  const int null = ::open("/dev/null", O_RDWR);
  for (int standard = 0; null >= 0 && standard < fd; ++standard) ::dup2(null, standard);
  std::string message;
  for (const std::size_t item : items) {  // at once, for the next one may hang
    const std::string answer = task(item);
    const Header header{item, answer.size()};
    message.assign(reinterpret_cast<const char *>(&header), sizeof header).append(answer);
    if (!write_all(fd, message)) break;
  }
  ::_exit(0);  // nothing of the parent's (buffers, handlers) may run here
}

std::optional<Child> start(const std::vector<std::size_t> &items, const ChildTask &task,
                           Clock::time_point deadline) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {};
  Fd read_end(ends[0]), write_end(ends[1]);
  Child child;
  child.pid = ::fork();
  if (child.pid < 0) return {};
  if (child.pid == 0) {
    ::signal(SIGPIPE, SIG_DFL);
    child_main(write_end.get(), items, task);
  }
  child.pipe = std::move(read_end);
  child.deadline = deadline;
  return child;
}

void take_answers(Child &child, Answers &answers) {
  std::size_t at = 0;
  for (Header header{}; child.buffer.size() - at >= sizeof header; at += sizeof header + header.length) {
    std::memcpy(&header, child.buffer.data() + at, sizeof header);
    if (child.buffer.size() - at - sizeof header < header.length) break;
    if (header.item < answers.size())
      answers[header.item] = child.buffer.substr(at + sizeof header, header.length);
  }
  child.buffer.erase(0, at);
}

/// False when the child is done.
bool receive(Child &child, Answers &answers, std::chrono::milliseconds patience) {
  char block[65536];
  const ssize_t n = ::read(child.pipe.get(), block, sizeof block);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;
  child.buffer.append(block, static_cast<std::size_t>(n));
  child.deadline = Clock::now() + patience;
  take_answers(child, answers);
  return true;
}

/// Children that were killed. One in an uninterruptible read stays until the kernel lets it go; nobody waits
/// for it.
class Abandoned {
 public:
  void add(pid_t pid) {
    ::kill(pid, SIGKILL);
    pids_.push_back(pid);
  }
  /// Leaves no zombie of those that die at once, which are all but the uninterruptible.
  void reap() {
    for (unsigned turn = 0; turn < kReapTurns; ++turn) {
      std::erase_if(pids_, [](pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) != 0; });
      if (pids_.empty()) return;
      ::usleep(kReapMicroseconds);
    }
  }

 private:
  std::vector<pid_t> pids_;
};

int wait_milliseconds(const std::vector<Child *> &children) {
  auto first = children.front()->deadline;
  for (const auto *child : children) first = std::min(first, child->deadline);
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(first - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left) + 1;
}

void collect(std::vector<Child> &children, Answers &answers, std::chrono::milliseconds patience,
             Abandoned &abandoned) {
  std::vector<Child *> running;
  for (auto &child : children) running.push_back(&child);
  while (!running.empty()) {
    std::vector<pollfd> polled;
    for (const auto *child : running) polled.push_back({child->pipe.get(), POLLIN, 0});
    const int ready = ::poll(polled.data(), polled.size(), wait_milliseconds(running));
    std::vector<Child *> next;
    for (std::size_t i = 0; i < running.size(); ++i) {
      Child &child = *running[i];
      if (ready > 0 && polled[i].revents != 0) {
        if (receive(child, answers, patience)) {
          next.push_back(&child);
        } else {
          ::waitpid(child.pid, nullptr, 0);
        }
      } else if (Clock::now() >= child.deadline) {
        abandoned.add(child.pid);
      } else {
        next.push_back(&child);
      }
    }
    running = std::move(next);
  }
}

void run_round(const Groups &groups, const ChildTask &task, Answers &answers,
               std::chrono::milliseconds patience) {
  Abandoned abandoned;
  for (std::size_t at = 0; at < groups.size(); at += kMostChildren) {
    std::vector<Child> children;
    const std::size_t end = std::min(groups.size(), at + kMostChildren);
    for (std::size_t i = at; i < end; ++i) {
      if (auto child = start(groups[i], task, Clock::now() + patience)) children.push_back(std::move(*child));
    }
    collect(children, answers, patience, abandoned);
    abandoned.reap();
  }
}

/// What stands behind the first item of a group that has no answer.
std::vector<std::size_t> rest_of(const std::vector<std::size_t> &group, const Answers &answers) {
  const auto hung =
      std::find_if(group.begin(), group.end(), [&](std::size_t item) { return !answers[item].has_value(); });
  return hung == group.end() ? std::vector<std::size_t>{} : std::vector<std::size_t>(hung + 1, group.end());
}

/// Cuts each group into pieces, about kMostChildren in all, and does them. What is left of a group is empty
/// when no piece of it gave an answer: then all of its storage is dead.
void run_pieces(Groups &groups, const ChildTask &task, Answers &answers, std::chrono::milliseconds patience) {
  std::size_t total = 0;
  for (const auto &group : groups) total += group.size();
  const std::size_t length = (total + kMostChildren - 1) / kMostChildren;
  Groups pieces;
  std::vector<std::size_t> origin;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t at = 0; at < groups[g].size(); at += length) {
      const auto from = groups[g].begin() + static_cast<std::ptrdiff_t>(at);
      pieces.emplace_back(from, from + static_cast<std::ptrdiff_t>(std::min(length, groups[g].size() - at)));
      origin.push_back(g);
    }
  }
  run_round(pieces, task, answers, patience);
  std::vector<bool> alive(groups.size());
  for (std::size_t p = 0; p < pieces.size(); ++p)
    alive[origin[p]] = alive[origin[p]] || answers[pieces[p].front()].has_value();
  for (auto &group : groups) group.clear();
  for (std::size_t p = 0; p < pieces.size(); ++p) {
    if (!alive[origin[p]]) continue;
    const auto rest = rest_of(pieces[p], answers);
    groups[origin[p]].insert(groups[origin[p]].end(), rest.begin(), rest.end());
  }
}

}  // namespace

Answers run_in_children(std::size_t items, const Groups &groups, const ChildTask &task,
                        std::chrono::milliseconds patience) {
  Answers answers(items);
  run_round(groups, task, answers, patience);
  Groups left;
  for (const auto &group : groups) left.push_back(rest_of(group, answers));
  for (unsigned round = 0; round < kRetries; ++round) {
    std::erase_if(left, [](const auto &group) { return group.empty(); });
    if (left.empty()) break;
    run_pieces(left, task, answers, patience);
  }
  return answers;
}

}  // namespace vbd::sys
