// SPDX-License-Identifier: MIT
// The calls of core/sys/calls.hpp, written down in their order, each done for real unless `before` gives an
// errno for it. `before` is also the place where a second actor may act. One at a time.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/sys/calls.hpp"

namespace vbd::sys::test {

class RecordedCalls {
 public:
  using Before = std::function<int(const std::string &call)>;
  explicit RecordedCalls(Before before = {}) : before_(std::move(before)), replaced_(table()) {
    one() = this;
  }
  ~RecordedCalls() { one() = nullptr; }
  RecordedCalls(const RecordedCalls &) = delete;
  RecordedCalls &operator=(const RecordedCalls &) = delete;

  /// "fsync FILE", "fsync DIRECTORY/", "rename FROM TO", "link FROM TO", "unlink NAME", "rmdir NAME",
  /// "mkdir NAME", "lock FILE": last components, without the random digits of temporary files.
  [[nodiscard]] std::vector<std::string> seen() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return seen_;
  }
  /// How often, of calls that begin so.
  [[nodiscard]] std::size_t count(const std::string &beginning) const {
    const auto all = seen();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [&](const std::string &one) { return one.starts_with(beginning); }));
  }

 private:
  static RecordedCalls *&one() {
    static RecordedCalls *current = nullptr;
    return current;
  }
  static std::string plain(std::string name) {
    constexpr std::size_t kTail = 21;  // ".0123456789abcdef.tmp"
    if (name.starts_with(".vbd-") && name.ends_with(".tmp") && name.size() > 5 + kTail)
      name.replace(name.size() - kTail, kTail, ".tmp");
    return name;
  }
  static std::string name_of(int fd) {
    std::error_code error;
    const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
    return plain(path.filename().string()) + (std::filesystem::is_directory(path, error) ? "/" : "");
  }
  template <class Real>
  static int record(const std::string &call, Real &&real) {
    RecordedCalls &self = *one();
    {
      const std::lock_guard<std::mutex> lock(self.mutex_);
      self.seen_.push_back(call);
    }
    const int fails = self.before_ ? self.before_(call) : 0;
    if (fails == 0) return real();
    errno = fails;
    return -1;
  }
  static const Calls &table() {
    static const Calls calls{
        [](int fd) { return record("fsync " + name_of(fd), [&] { return real_calls().fsync(fd); }); },
        [](int fd) { return record("fdatasync " + name_of(fd), [&] { return real_calls().fdatasync(fd); }); },
        [](int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
          return record("rename " + plain(from) + " " + plain(to),
                        [&] { return real_calls().renameat2(from_dir, from, to_dir, to, flags); });
        },
        [](int from_dir, const char *from, int to_dir, const char *to, int flags) {
          return record("link " + plain(from) + " " + plain(to),
                        [&] { return real_calls().linkat(from_dir, from, to_dir, to, flags); });
        },
        [](int directory, const char *name, int flags) {
          return record((flags == 0 ? "unlink " : "rmdir ") + plain(name),
                        [&] { return real_calls().unlinkat(directory, name, flags); });
        },
        [](int directory, const char *name, mode_t mode) {
          return record("mkdir " + plain(name), [&] { return real_calls().mkdirat(directory, name, mode); });
        },
        [](int fd, struct flock *lock) {
          return record("lock " + name_of(fd), [&] { return real_calls().set_lock(fd, lock); });
        }};
    return calls;
  }

  Before before_;
  mutable std::mutex mutex_;
  std::vector<std::string> seen_;
  ReplacedCalls replaced_;
};

}  // namespace vbd::sys::test
