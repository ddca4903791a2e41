// SPDX-License-Identifier: MIT
// The calls that change directories, that make things durable and that take a lock for an operation, in one
// table: core/sys makes them through calls(), and a test puts its own there for a scope, to count them, to
// see their order, to let one fail or to act at that moment. Their contracts are those of the system's calls:
// -1 and errno. Reading the table is thread-safe; ReplacedCalls is for a time when nobody else calls.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

namespace vbd::sys {

struct Calls {
  int (*fsync)(int fd);
  int (*fdatasync)(int fd);
  int (*renameat2)(int from_directory, const char *from, int to_directory, const char *to, unsigned flags);
  int (*linkat)(int from_directory, const char *from, int to_directory, const char *to, int flags);
  int (*unlinkat)(int directory, const char *name, int flags);
  int (*mkdirat)(int directory, const char *name, mode_t mode);
  int (*set_lock)(int fd, struct flock *lock);  ///< fcntl(F_OFD_SETLK)
};

[[nodiscard]] const Calls &calls();
[[nodiscard]] const Calls &real_calls();

/// `other` in place of what was there, until this goes.
class ReplacedCalls {
 public:
  explicit ReplacedCalls(const Calls &other);
  ~ReplacedCalls();
  ReplacedCalls(const ReplacedCalls &) = delete;
  ReplacedCalls &operator=(const ReplacedCalls &) = delete;

 private:
  const Calls *before_;
};

}  // namespace vbd::sys
