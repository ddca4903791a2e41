// SPDX-License-Identifier: MIT
#include "core/sys/calls.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

namespace vbd::sys {
namespace {

/// Not each filesystem and kernel has renameat2; the plain call is the one that every one has.
int rename_with(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
  if (flags == 0) return ::renameat(from_directory, from, to_directory, to);
  return ::renameat2(from_directory, from, to_directory, to, flags);
}

int set_lock(int fd, struct flock *lock) {
  return ::fcntl(fd, F_OFD_SETLK, lock);
}

constexpr Calls kReal{::fsync, ::fdatasync, rename_with, ::linkat, ::unlinkat, ::mkdirat, set_lock};
std::atomic<const Calls *> current{&kReal};

}  // namespace

const Calls &calls() {
  return *current.load(std::memory_order_acquire);
}

const Calls &real_calls() {
  return kReal;
}

ReplacedCalls::ReplacedCalls(const Calls &other) : before_(current.exchange(&other)) {}

ReplacedCalls::~ReplacedCalls() {
  current.store(before_);
}

}  // namespace vbd::sys
