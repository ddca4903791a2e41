// SPDX-License-Identifier: MIT
#include "manager/backup/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "core/image/in_order.hpp"

namespace vbd::backup {
namespace {

class Group {
 public:
  Group(std::size_t count, const Watch &watch, const DiskWork &work)
      : watch_(watch), work_(work), done_(count), total_(count), errors_(count) {}

  Result<void> run() {
    std::vector<std::thread> threads;
    const std::size_t most = std::min<std::size_t>(errors_.size(), image::all_processors());
    for (std::size_t i = 1; i < most; ++i) {
      try {
        threads.emplace_back([this] { serve(); });
      } catch (const std::system_error &) {
        break;  // fewer do as well
      }
    }
    serve();
    for (auto &thread : threads) thread.join();
    for (const auto &error : errors_) {
      if (error && !error->is(plugin::kCancelled)) return *error;
    }
    for (const auto &error : errors_) {
      if (error) return *error;
    }
    return {};
  }

 private:
  void serve() {
    for (std::size_t i = next_++; i < errors_.size() && !failed_; i = next_++) {
      const Watch mine = [this, i](std::uint64_t done, std::uint64_t total) {
        return report(i, done, total);
      };
      Result<void> result;
      try {
        result = work_(i, mine);
      } catch (const std::bad_alloc &) {
        result = Error(plugin::kInternal, "out of memory");
      }
      if (result) continue;
      errors_[i] = result.error();
      failed_ = true;
    }
  }

  bool report(std::size_t index, std::uint64_t done, std::uint64_t total) {
    if (failed_) return true;
    if (!watch_) return false;
    const std::lock_guard<std::mutex> lock(mutex_);
    done_[index] = done;
    total_[index] = total;
    std::uint64_t all_done = 0, all = 0;
    for (const auto one : done_) all_done += one;
    for (const auto one : total_) all += one;
    return watch_(all_done, all);
  }

  const Watch &watch_;
  const DiskWork &work_;
  std::mutex mutex_;
  std::vector<std::uint64_t> done_, total_;
  std::vector<std::optional<Error>> errors_;  // each written by one thread
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> failed_{false};
};

}  // namespace

Result<void> in_parallel(std::size_t count, const Watch &watch, const DiskWork &work) {
  return Group(count, watch, work).run();
}

}  // namespace vbd::backup
