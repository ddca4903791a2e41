// SPDX-License-Identifier: MIT
#include "core/sys/guard.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/proc.hpp"

namespace vbd::sys {
namespace {

struct flock whole_file() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

Result<Fd> make_guard(int directory, const std::string &name) {
  Fd fd(::openat(directory, name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return errno_error("open " + text::printable(name), errno);
  struct flock lock = whole_file();
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0) return fd;
  if (errno != EAGAIN && errno != EACCES) return errno_error("lock " + text::printable(name), errno);
  return Error{kLocked, text::cat(text::printable(name), ": a process from an earlier start still has it")};
}

Result<std::vector<Process>> guarded_processes(int directory, const std::string &name) {
  std::vector<Process> found;
  const Fd fd(::openat(directory, name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return found;
  if (!fd) return errno_error("open " + text::printable(name), errno);
  struct flock lock = whole_file();
  if (::fcntl(fd.get(), F_OFD_GETLK, &lock) != 0) return errno_error("look for a lock", errno);
  if (lock.l_type == F_UNLCK) return found;
  const auto info = file_info(fd.get());
  if (!info) return info.error();
  for (const std::int64_t pid : lock_holders(info->id, 0, UINT64_MAX)) {
    if (pid == ::getpid()) continue;
    if (const auto start = process_start_time(pid)) found.push_back({pid, *start});
  }
  if (!found.empty() || ::fcntl(fd.get(), F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return found;
  return Error{kPermission, text::cat(text::printable(name), ": a process has it that can't be seen"),
               "run it as root"};
}

}  // namespace vbd::sys
