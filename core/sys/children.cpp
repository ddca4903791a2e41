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

#include "core/sys/fd.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;
using Answers = std::vector<std::optional<std::string>>;

constexpr std::size_t kMostChildren = 64;

/// One answer on the pipe: item and length as 64 bits of this machine, then the bytes.
struct Header {
  std::uint64_t item, length;
};

struct Child {
  pid_t pid = -1;
  Fd pipe;
  std::vector<std::size_t> items;
  std::string buffer;
  Clock::time_point deadline;
  bool hung = false;
};

bool write_all(int fd, const void *data, std::size_t length) {
  const auto *from = static_cast<const char *>(data);
  while (length > 0) {
    const ssize_t n = ::write(fd, from, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    from += n;
    length -= static_cast<std::size_t>(n);
  }
  return true;
}

/// Descriptors are closed because an abandoned child would keep the locks that live in them.
[[noreturn]] void child_main(int pipe, const std::vector<std::size_t> &items, const ChildTask &task) {
  constexpr int fd = 3;
  if (pipe != fd && ::dup2(pipe, fd) < 0) ::_exit(1);
  ::close_range(fd + 1, ~0U, 0);
  for (const std::size_t item : items) {
    const std::string answer = task(item);
    const Header header{item, answer.size()};
    if (!write_all(fd, &header, sizeof header) || !write_all(fd, answer.data(), answer.size())) break;
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
  child.items = items;
  child.deadline = deadline;
  return child;
}

void take_answers(Child &child, Answers &answers) {
  for (;;) {
    Header header{};
    if (child.buffer.size() < sizeof header) return;
    std::memcpy(&header, child.buffer.data(), sizeof header);
    if (child.buffer.size() - sizeof header < header.length) return;
    if (header.item < answers.size())
      answers[header.item] = child.buffer.substr(sizeof header, header.length);
    child.buffer.erase(0, sizeof header + header.length);
  }
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

/// A child in an uninterruptible read stays until the kernel lets it go; nobody waits for it.
void abandon(Child &child) {
  ::kill(child.pid, SIGKILL);
  ::waitpid(child.pid, nullptr, WNOHANG);
}

int wait_milliseconds(const std::vector<Child *> &children) {
  auto first = children.front()->deadline;
  for (const auto *child : children) first = std::min(first, child->deadline);
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(first - Clock::now()).count();
  return left < 0 ? 0 : static_cast<int>(left) + 1;
}

void collect(std::vector<Child> &children, Answers &answers, std::chrono::milliseconds patience) {
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
        child.hung = true;
        abandon(child);
      } else {
        next.push_back(&child);
      }
    }
    running = std::move(next);
  }
}

std::vector<Child> run_round(const std::vector<std::vector<std::size_t>> &groups, const ChildTask &task,
                             Answers &answers, std::chrono::milliseconds patience) {
  std::vector<Child> all;
  for (std::size_t at = 0; at < groups.size(); at += kMostChildren) {
    std::vector<Child> children;
    const std::size_t end = std::min(groups.size(), at + kMostChildren);
    for (std::size_t i = at; i < end; ++i) {
      if (auto child = start(groups[i], task, Clock::now() + patience)) children.push_back(std::move(*child));
    }
    collect(children, answers, patience);
    std::move(children.begin(), children.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace

Answers run_in_children(std::size_t items, const std::vector<std::vector<std::size_t>> &groups,
                        const ChildTask &task, std::chrono::milliseconds patience) {
  Answers answers(items);
  std::vector<std::vector<std::size_t>> again;
  for (const auto &child : run_round(groups, task, answers, patience)) {
    if (!child.hung) continue;
    bool first = true;  // the first without an answer is the one that hung
    for (const std::size_t item : child.items) {
      if (answers[item].has_value()) continue;
      if (!std::exchange(first, false)) again.push_back({item});
    }
  }
  if (!again.empty()) (void)run_round(again, task, answers, patience);
  return answers;
}

}  // namespace vbd::sys
