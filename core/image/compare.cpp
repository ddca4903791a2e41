// SPDX-License-Identifier: MIT
#include "core/image/compare.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "core/base/size.hpp"

namespace vbd::image {
namespace {

constexpr std::uint64_t kBlock = std::uint64_t{1} << 20;

/// What one image stores, looked up piece by piece from the beginning.
class Cursor {
 public:
  explicit Cursor(const OpenImage &image) : image_(image) {}

  struct Stretch {
    std::uint64_t length = 0;
    bool zero = true;
  };
  /// At `offset`, which never goes back; beyond the end there are zeros without end.
  Result<Stretch> at(std::uint64_t offset) {
    if (offset >= image_.size()) return Stretch{~std::uint64_t{0} - offset, true};
    while (next_ < extents_.size() && extents_[next_].offset + extents_[next_].length <= offset) ++next_;
    if (next_ == extents_.size()) {
      auto extents = image_.map(offset, image_.size() - offset);
      if (!extents) return extents.error();
      extents_ = *std::move(extents);
      next_ = 0;
    }
    const vbd_extent &extent = extents_[next_];
    return Stretch{extent.offset + extent.length - offset,
                   extent.kind == VBD_EXTENT_HOLE || extent.kind == VBD_EXTENT_ZERO};
  }

 private:
  const OpenImage &image_;
  std::vector<vbd_extent> extents_;
  std::size_t next_ = 0;
};

struct Task {
  std::uint64_t offset = 0, length = 0;
  bool a_zero = false, b_zero = false;
};

class Comparison {
 public:
  Comparison(const OpenImage &a, const OpenImage &b)
      : a_(a), b_(b), a_at_(a), b_at_(b), end_(std::max(a.size(), b.size())) {}

  Result<std::vector<Difference>> run();

 private:
  std::optional<Task> next();
  void work();
  Result<void> look(const Task &task, std::vector<unsigned char> &a, std::vector<unsigned char> &b);
  void found(std::uint64_t offset, std::uint64_t length);
  void fail(const Error &error);

  const OpenImage &a_, &b_;
  Cursor a_at_, b_at_;  // under the mutex, as all that follows
  std::mutex mutex_;
  std::uint64_t at_ = 0;
  const std::uint64_t end_;
  std::vector<Difference> differences_;
  std::optional<Error> error_;
};

void Comparison::fail(const Error &error) {
  if (!error_) error_ = error;
}

/// The next piece that at least one of them stores.
std::optional<Task> Comparison::next() {
  const std::lock_guard<std::mutex> lock(mutex_);
  while (at_ < end_ && !error_) {
    const auto a = a_at_.at(at_), b = b_at_.at(at_);
    if (!a || !b) {
      fail(!a ? a.error() : b.error());
      break;
    }
    Task task{at_, std::min({a->length, b->length, end_ - at_}), a->zero, b->zero};
    if (task.a_zero && task.b_zero) {
      at_ += task.length;
      continue;
    }
    task.length = std::min(task.length, kBlock - at_ % kBlock);
    at_ += task.length;
    return task;
  }
  return std::nullopt;
}

void Comparison::found(std::uint64_t offset, std::uint64_t length) {
  const std::lock_guard<std::mutex> lock(mutex_);
  differences_.push_back({offset, length});
}

Result<void> Comparison::look(const Task &task, std::vector<unsigned char> &a,
                              std::vector<unsigned char> &b) {
  const auto fill = [&](const OpenImage &image, bool zero, std::vector<unsigned char> &to) -> Result<void> {
    if (!zero) return image.read(to.data(), task.length, task.offset);
    std::memset(to.data(), 0, task.length);
    return {};
  };
  if (auto done = fill(a_, task.a_zero, a); !done) return done;
  if (auto done = fill(b_, task.b_zero, b); !done) return done;
  if (std::memcmp(a.data(), b.data(), task.length) == 0) return {};
  for (std::uint64_t i = 0; i < task.length; i += kSectorSize) {
    const std::uint64_t length = std::min(kSectorSize, task.length - i);
    if (std::memcmp(a.data() + i, b.data() + i, length) != 0) found(task.offset + i, length);
  }
  return {};
}

void Comparison::work() {
  try {
    std::vector<unsigned char> a(kBlock), b(kBlock);
    while (const auto task = next()) {
      if (auto looked = look(*task, a, b); !looked) {
        const std::lock_guard<std::mutex> lock(mutex_);
        fail(looked.error());
      }
    }
  } catch (const std::bad_alloc &) {
    const std::lock_guard<std::mutex> lock(mutex_);
    fail(Error(plugin::kInternal, "compare: out of memory"));
  }
}

Result<std::vector<Difference>> Comparison::run() {
  const bool parallel = a_.parallel_read() && b_.parallel_read();
  const unsigned count = parallel ? std::max(1u, std::thread::hardware_concurrency()) : 1;
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < count; ++i) threads.emplace_back([this] { work(); });
  work();
  for (std::thread &thread : threads) thread.join();
  if (error_) return *error_;
  std::sort(differences_.begin(), differences_.end(),
            [](const Difference &x, const Difference &y) { return x.offset < y.offset; });
  std::vector<Difference> joined;
  for (const Difference &next : differences_) {
    if (!joined.empty() && joined.back().offset + joined.back().length == next.offset) {
      joined.back().length += next.length;
    } else {
      joined.push_back(next);
    }
  }
  return joined;
}

}  // namespace

Result<std::vector<Difference>> compare(const OpenImage &a, const OpenImage &b) {
  return Comparison(a, b).run();
}

}  // namespace vbd::image
