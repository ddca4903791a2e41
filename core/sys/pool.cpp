// SPDX-License-Identifier: MIT
#include "core/sys/pool.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "core/sys/exec.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kTurnMilliseconds = 100;

struct Running {
  std::size_t item;
  pid_t pid;
  Fd pipe;
  Clock::time_point begun;
};

/// Nothing of the parent's (buffers, handlers of its end) may run in here, an exception included.
[[noreturn]] void work_in_child(int pipe, pid_t parent, const PoolTask &task, std::size_t item) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  for (const int number : {SIGINT, SIGHUP, SIGQUIT}) ::signal(number, SIG_IGN);
  const std::string answer = task(item);
  for (std::string_view left = answer; !left.empty();) {
    const ssize_t n = ::write(pipe, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) ::_exit(1);
    left.remove_prefix(static_cast<std::size_t>(n));
  }
  ::_exit(0);
}

class Pool {
 public:
  Pool(const PoolSpec &spec, const PoolTask &task)
      : spec_(spec), task_(task), items_(spec.items), begun_(Clock::now()) {
    if (spec.limit.count() == 0) return;
    const std::size_t rounds = (spec.items + spec.most - 1) / std::max<std::size_t>(spec.most, 1);
    share_ = spec.limit / static_cast<milliseconds::rep>(std::max<std::size_t>(rounds, 1));
    give_up_after(spec.limit + spec.patience);
  }

  std::vector<PoolItem> run(const PoolWatch &watch) {
    for (;;) {
      while (!stopped_ && next_ < spec_.items && has_room()) begin(next_++);
      if (running_.empty() && (stopped_ || next_ == spec_.items)) return std::move(items_);
      wait();
      if (spec_.patience.count() > 0 && Clock::now() >= give_up_) abandon();
      if (watch(done_, list()) && !stopped_) stop();
    }
  }

 private:
  [[nodiscard]] bool has_room() const {
    const auto now = Clock::now();
    const auto counts = [&](const Running &one) { return share_.count() == 0 || now - one.begun < share_; };
    return static_cast<std::size_t>(std::count_if(running_.begin(), running_.end(), counts)) < spec_.most;
  }

  void begin(std::size_t item) {
    auto pipe = make_pipe();
    const pid_t parent = ::getpid(), pid = pipe ? ::fork() : -1;
    if (pid == 0) work_in_child(pipe->write.get(), parent, task_, item);
    if (pid > 0) {
      running_.push_back({item, pid, std::move(pipe->read), Clock::now()});
    } else {
      finish(item, PoolItem::End::died);
    }
  }

  void wait() {
    std::vector<pollfd> polled;
    for (const auto &one : running_) polled.push_back({one.pipe.get(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), kTurnMilliseconds) <= 0) return;
    std::vector<Running> still;
    for (std::size_t i = 0; i < running_.size(); ++i) {
      if (polled[i].revents == 0 || receive(running_[i])) still.push_back(std::move(running_[i]));
    }
    running_ = std::move(still);
  }

  /// False when the child has ended.
  bool receive(Running &one) {
    char block[4096];
    const ssize_t n = ::read(one.pipe.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) return true;
    if (n > 0) {
      items_[one.item].answer.append(block, static_cast<std::size_t>(n));
      return true;
    }
    int status = 0;
    while (::waitpid(one.pid, &status, 0) < 0 && errno == EINTR) {
    }
    finish(one.item, status == 0 ? PoolItem::End::answered : PoolItem::End::died);
    return false;
  }

  void finish(std::size_t item, PoolItem::End end) {
    items_[item].end = end;
    ++done_;
  }

  void stop() {
    stopped_ = true;
    for (const auto &one : running_) ::kill(one.pid, SIGTERM);
    give_up_after(Clock::now() - begun_ + spec_.patience);
  }

  void give_up_after(Clock::duration time) { give_up_ = std::min(give_up_, begun_ + time); }

  /// One in an uninterruptible read stays until the kernel lets it go; nobody waits for it.
  void abandon() {
    for (const auto &one : running_) {
      ::kill(one.pid, SIGKILL);
      finish(one.item, PoolItem::End::abandoned);
    }
    running_.clear();
    stopped_ = true;
  }

  [[nodiscard]] std::vector<std::size_t> list() const {
    std::vector<std::size_t> items;
    for (const auto &one : running_) items.push_back(one.item);
    return items;
  }

  const PoolSpec &spec_;
  const PoolTask &task_;
  std::vector<PoolItem> items_;
  std::vector<Running> running_;
  const Clock::time_point begun_;
  Clock::time_point give_up_ = Clock::time_point::max();
  milliseconds share_{0};
  std::size_t next_ = 0, done_ = 0;
  bool stopped_ = false;
};

}  // namespace

std::vector<PoolItem> run_pool(const PoolSpec &spec, const PoolTask &task, const PoolWatch &watch) {
  return Pool(spec, task).run(watch);
}

}  // namespace vbd::sys
