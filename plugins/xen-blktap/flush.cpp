// SPDX-License-Identifier: MIT
// vbdkit-flush FILE PID START: asks qemu-storage-daemon every few seconds to store what it holds back, as the
// kernel does for files of its own. Without a flush the daemon keeps a qcow2 image's tables in memory for as
// long as it lives, and data that no table names is lost with it. Ends with the process PID that began at
// START (field 22 of /proc/PID/stat), so nobody has to look after it.
//
// FILE is the daemon's FUSE file, not the block device: that is to have no other user when it is detached. It
// is open for a moment only. An fsync is a request of 56 bytes, which an older daemon (see make_loop in
// backend_qsd.cpp) takes in the middle of a write without harm, for it ends before the place of the data.
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kPeriodMs = 5000;

/// 0: no such process. The second field is in parentheses and may hold anything.
unsigned long long start_time_of(const char *pid) {
  char path[64], text[4096];
  std::snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t size = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (size <= 0) return 0;
  text[size] = '\0';
  const char *at = std::strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 22; ++field) {
    at = std::strchr(at, ' ');
    if (at != nullptr) ++at;
  }
  return at == nullptr ? 0 : std::strtoull(at, nullptr, 10);
}

/// What can't be stored now is asked for again; whoever wrote it learns of it by his own flush or at detach.
void flush(const char *file) {
  const int fd = ::open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fputs("usage: vbdkit-flush FILE PID START\n", stderr);
    return 2;
  }
  const unsigned long long start = std::strtoull(argv[3], nullptr, 10);
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, std::atoi(argv[2]), 0));
  while (start != 0 && start_time_of(argv[2]) == start) {
    pollfd polled = {pidfd, POLLIN, 0};  // -1 before Linux 5.3: then only the time is waited for
    if (::poll(&polled, 1, kPeriodMs) == 0) flush(argv[1]);
    if (polled.revents != 0) break;
  }
  return 0;
}
