// SPDX-License-Identifier: MIT
#include "core/sys/locks.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "core/base/text.hpp"
#include "core/sys/calls.hpp"
#include "core/sys/proc.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;

Result<Fd> open_lock_file(int directory, const std::string &path) {
  const std::string name(OperationLock::kFileName);
  Fd fd(::openat(directory, name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  const std::string what = text::cat("open ", text::printable(path), "/", name);
  if (!fd) return errno_error(what, errno);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return errno_error(what, errno);
  if (!S_ISREG(st.st_mode)) return Error{kNotRegular, text::cat(what, ": is not a regular file")};
  return fd;
}

/// The directory may have been removed and made again while we waited.
bool still_named(int directory, int fd) {
  struct stat open_file {
  }, named{};
  const std::string name(OperationLock::kFileName);
  return ::fstat(fd, &open_file) == 0 &&
         ::fstatat(directory, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

Error held_error(int fd, const std::string &path) {
  std::string holders = "another process";
  if (const auto info = file_info(fd)) {
    const auto pids = lock_holders(info->id, 0, UINT64_MAX);
    if (!pids.empty()) holders = describe_processes(pids);
  }
  return {kLocked, text::cat(text::printable(path), ": an operation of ", holders, " is under way here"),
          "wait for it to end, then try again"};
}

}  // namespace

Result<OperationLock> OperationLock::acquire(int directory, const std::string &directory_path,
                                             std::chrono::milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  std::chrono::milliseconds pause{5};
  for (;;) {
    Result<Fd> fd = open_lock_file(directory, directory_path);
    if (!fd) return fd.error();
    struct flock lock {};  // whole file
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (calls().set_lock(fd->get(), &lock) == 0) {
      if (still_named(directory, fd->get())) return OperationLock(std::move(*fd));
    } else if (errno != EAGAIN && errno != EACCES && errno != EINTR) {
      return errno_error(text::cat("lock ", text::printable(directory_path), "/", kFileName), errno);
    }
    if (Clock::now() >= deadline) return held_error(fd->get(), directory_path);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    std::this_thread::sleep_for(std::min(pause, std::max(left, std::chrono::milliseconds{1})));
    pause = std::min(pause * 2, std::chrono::milliseconds{100});
  }
}

}  // namespace vbd::sys
