// SPDX-License-Identifier: MIT
#include "core/sys/guard.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

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

/// What /proc/PID/fd/N leads to, without touching it.
std::string link_of(int directory, const std::string &name) {
  std::array<char, PATH_MAX + 16> target{};
  const ssize_t length = ::readlinkat(directory, name.c_str(), target.data(), target.size());
  std::string path(target.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  constexpr std::string_view kDeleted = " (deleted)";  // fs/d_path.c
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return path;
}

/// A lock of either kind, through this very descriptor.
bool is_locked(std::int64_t pid, const std::string &fd) {
  const auto info = read_file(text::cat("/proc/", pid, "/fdinfo/", fd), std::size_t{1} << 20);
  return info && (info->find("\nlock:") != std::string::npos);
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

bool has_guard(int directory, const std::string &name, const Process &process) {
  const auto guard = file_info_at(directory, name);
  if (!guard) return false;
  bool has = false;
  const bool seen = visit_open_files(process.pid, [&](const OpenFile &file) {
    has = has || (file.inode == guard->id.inode && file.device == guard->id.device);
  });
  return has || !seen;
}

Result<std::vector<Process>> guarded_processes(int directory, const std::string &name) {
  std::vector<Process> found;
  const Fd fd(::openat(directory, name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!fd && errno == ENOENT) return found;
  if (!fd) return errno_error("open " + text::printable(name), errno);
  struct flock lock = whole_file();
  if (::fcntl(fd.get(), F_OFD_GETLK, &lock) != 0) return errno_error("look for a lock", errno);
  if (lock.l_type == F_UNLCK) return found;
  VBD_TRY_ASSIGN(const auto info, file_info(fd.get()));
  for (const std::int64_t pid : lock_holders(info.id, 0, UINT64_MAX)) {
    if (pid == ::getpid()) continue;
    if (const auto start = process_start_time(pid)) found.push_back({pid, *start});
  }
  if (!found.empty() || ::fcntl(fd.get(), F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return found;
  return Error{kPermission, text::cat(text::printable(name), ": a process has it that can't be seen"),
               "run it as root"};
}

std::vector<LockedFile> locked_files(const std::function<bool(const std::string &)> &wanted) {
  std::vector<LockedFile> found;
  for (const std::int64_t pid : process_ids()) {
    const Fd process(::open(text::cat("/proc/", pid).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto owner = process ? file_info(process.get()) : Result<FileInfo>(Error{kNotFound, ""});
    if (pid == ::getpid() || !owner || owner->uid != ::geteuid()) continue;
    const Fd fds(::openat(process.get(), "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto names = fds ? list_dir(fds.get()) : Result<std::vector<std::string>>(Error{kNotFound, ""});
    if (!names) continue;
    for (const std::string &fd : *names) {
      std::string path = link_of(fds.get(), fd);
      if (!path.starts_with('/') || !wanted(path) || !is_locked(pid, fd)) continue;
      if (const auto start = process_start_time(pid))
        found.push_back({std::move(path), {pid, *start}, process_command(pid)});
    }
  }
  return found;
}

}  // namespace vbd::sys
