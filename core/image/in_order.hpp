// SPDX-License-Identifier: MIT
// Work on all processors whose results are wanted in the order of the work: the tasks are made one after the
// other, done side by side, and their results taken one after the other again. How far the fastest thread may
// be ahead of the slowest is limited, and so is the memory.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/plugin/plugin.hpp"

namespace vbd::image {

template <class Task, class Output>
class InOrder {
 public:
  virtual ~InOrder() = default;
  InOrder() = default;
  InOrder(const InOrder &) = delete;

 protected:
  /// The next task; nothing when there is none any more. One call at a time.
  virtual Result<std::optional<Task>> next() = 0;
  /// Does a task, with the buffers of one thread. Calls from several threads at once.
  class Worker {
   public:
    virtual ~Worker() = default;
    virtual Result<Output> work(const Task &task) = 0;
  };
  virtual std::unique_ptr<Worker> worker() = 0;
  /// The results in the order of their tasks. One call at a time.
  virtual Result<void> take(Output output) = 0;

  /// Until all is taken, or the first error: the first in the order of the tasks, so that what was taken
  /// before it is always the same. The calling thread is one of `threads`.
  Result<void> run(unsigned threads) {
    most_ahead_ = std::size_t{8} * threads;
    std::vector<std::thread> others;
    for (unsigned i = 1; i < threads; ++i) {
      try {
        others.emplace_back([this] { serve(); });
      } catch (const std::system_error &) {
        break;  // fewer do as well
      }
    }
    serve();
    for (std::thread &other : others) other.join();
    if (error_) return *error_;
    return {};
  }

 private:
  using Lock = std::unique_lock<std::mutex>;

  void serve() {
    Lock lock(mutex_);
    try {
      lock.unlock();
      const std::unique_ptr<Worker> mine = worker();
      lock.lock();
      while (auto ticket = begin(lock)) {
        lock.unlock();
        Result<Output> output = mine->work(ticket->second);
        lock.lock();
        finish(ticket->first, std::move(output));
      }
    } catch (const std::bad_alloc &) {
      if (!lock.owns_lock()) lock.lock();
      if (!error_) error_ = Error(plugin::kInternal, "out of memory");
      end();
    }
  }

  /// The next task and its number; nothing when there is none or something failed.
  std::optional<std::pair<std::uint64_t, Task>> begin(Lock &lock) {
    changed_.wait(lock, [this] { return done_ || waiting_.size() < most_ahead_; });
    if (done_) return std::nullopt;
    Result<std::optional<Task>> task = next();
    if (task && !*task) {
      end();
      return std::nullopt;
    }
    waiting_.emplace_back();
    const std::uint64_t number = first_ + waiting_.size() - 1;
    if (task) return std::pair{number, **std::move(task)};
    finish(number, task.error());
    return std::nullopt;
  }

  void finish(std::uint64_t number, Result<Output> output) {
    if (error_) return;
    if (!output) end();
    waiting_[number - first_] = std::move(output);
    while (!error_ && !waiting_.empty() && waiting_.front()) {
      Result<Output> first = *std::move(waiting_.front());
      waiting_.pop_front();
      ++first_;
      if (!first) {
        error_ = first.error();
      } else if (auto done = take(*std::move(first)); !done) {
        error_ = done.error();
      }
    }
    if (error_) return end();
    changed_.notify_all();
  }

  /// No more tasks; those that were begun are finished.
  void end() {
    done_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::optional<Result<Output>>> waiting_;  // of the tasks that were begun and not taken, in order
  std::uint64_t first_ = 0;                            // the number of the first of them
  std::size_t most_ahead_ = 0;
  bool done_ = false;
  std::optional<Error> error_;
};

/// As many threads as there are processors that this process may use.
[[nodiscard]] inline unsigned all_processors() {
  const unsigned found = std::thread::hardware_concurrency();
  return found == 0 ? 1 : found;
}

}  // namespace vbd::image
