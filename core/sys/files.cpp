// SPDX-License-Identifier: MIT
#include "core/sys/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "core/base/text.hpp"
#include "core/sys/calls.hpp"

namespace vbd::sys {
namespace {

constexpr unsigned kWantedFacts = STATX_BASIC_STATS | STATX_BTIME;

FileInfo to_info(const struct statx &st) {
  FileInfo info;
  info.id = {makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino};
  info.size = st.stx_size;
  info.allocated = st.stx_blocks * 512;
  info.links = st.stx_nlink;
  info.mode = st.stx_mode;
  info.uid = st.stx_uid;
  info.gid = st.stx_gid;
  if ((st.stx_mask & STATX_BTIME) != 0) {
    info.birth = static_cast<std::uint64_t>(st.stx_btime.tv_sec) * 1000000000u + st.stx_btime.tv_nsec;
  }
  return info;
}

Error named_error(std::string_view what, const std::string &name, int error_number) {
  return errno_error(text::cat(what, " ", text::printable(name)), error_number);
}

Result<std::string> read_open_file(const Fd &fd, const std::string &name, std::size_t limit) {
  if (!fd) return named_error("open", name, errno);
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return named_error("stat", name, errno);
  if (S_ISDIR(st.st_mode)) return named_error("read", name, EISDIR);
  std::string content;
  // One byte more than is known or allowed, so that the end is seen; files in /proc say size 0.
  std::size_t step = std::min(limit, std::max<std::size_t>(static_cast<std::size_t>(st.st_size), 4096)) + 1;
  for (;;) {
    const std::size_t have = content.size();
    content.resize(have + step);
    const ssize_t got = ::read(fd.get(), content.data() + have, step);
    content.resize(have + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got == 0) return content;
    if (got < 0 && errno != EINTR) return named_error("read", name, errno);
    if (content.size() > limit) {
      return Error{kIo, text::cat("read ", text::printable(name), ": is larger than ", limit, " bytes")};
    }
    step = std::min<std::size_t>(limit - content.size() + 1, 65536);
  }
}

Result<void> write_all(int fd, std::string_view content, const std::string &name) {
  while (!content.empty()) {
    const ssize_t put = ::write(fd, content.data(), content.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return named_error("write", name, errno);
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

}  // namespace

Result<FileInfo> file_info(int fd) {
  struct statx st {};
  if (::statx(fd, "", AT_EMPTY_PATH, kWantedFacts, &st) != 0)
    return errno_error("stat of an open file", errno);
  return to_info(st);
}

Result<FileInfo> file_info_at(int directory, const std::string &name) {
  struct statx st {};
  if (::statx(directory, name.c_str(), AT_SYMLINK_NOFOLLOW, kWantedFacts, &st) != 0)
    return named_error("stat", name, errno);
  return to_info(st);
}

Result<std::string> read_file(const std::string &path, std::size_t limit) {
  return read_open_file(Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)), path, limit);
}

Result<std::string> read_file_at(int directory, const std::string &name, std::size_t limit) {
  const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  return read_open_file(Fd(::openat(directory, name.c_str(), flags)), name, limit);
}

Result<std::vector<std::string>> list_dir(int directory) {
  // Opened anew, for a duplicate would share its position with the caller's.
  Fd fd(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error("open a directory", errno);
  const std::unique_ptr<DIR, int (*)(DIR *)> stream(::fdopendir(fd.get()), &::closedir);
  if (!stream) return errno_error("read a directory", errno);
  fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent *entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return errno_error("read a directory", errno);
  std::sort(names.begin(), names.end());
  return names;
}

namespace {

/// Not published yet.
Result<TempFile> write_temp_file(int directory, const std::string &name, std::string_view content,
                                 std::uint32_t mode) {
  Ownership ownership;
  ownership.mode = mode;
  Result<TempFile> temp = TempFile::create(directory, name, ownership);
  if (!temp) return temp;
  VBD_TRY(write_all(temp->fd(), content, name));
  return temp;
}

}  // namespace

Result<void> replace_file_at(int directory, const std::string &name, std::string_view content,
                             std::uint32_t mode) {
  auto temp = write_temp_file(directory, name, content, mode);
  return temp ? std::move(*temp).publish_replacing() : temp.error();
}

Result<void> create_file_at(int directory, const std::string &name, std::string_view content,
                            std::uint32_t mode) {
  VBD_TRY_ASSIGN(auto temp, write_temp_file(directory, name, content, mode));
  auto published = std::move(temp).publish_new();
  return published ? Result<void>() : published.error();
}

Result<void> make_dir_at(int directory, const std::string &name, std::uint32_t mode) {
  if (calls().mkdirat(directory, name.c_str(), static_cast<mode_t>(mode)) != 0)
    return named_error("make directory", name, errno);
  return sync_fd(directory);
}

Result<void> make_dirs(const std::string &path, std::uint32_t mode) {
  const std::string full = absolute_path(path);
  Fd at(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const std::string &name : text::split(full, '/')) {
    if (name.empty()) continue;
    const bool made = calls().mkdirat(at.get(), name.c_str(), static_cast<mode_t>(mode)) == 0;
    if (!made && errno != EEXIST) {
      const int why = errno;  // EROFS may hide that it exists
      if (::faccessat(at.get(), name.c_str(), F_OK, 0) != 0) return named_error("make directory", full, why);
    }
    if (made) {
      if (auto synced = sync_fd(at.get()); !synced) return synced;
    }
    Fd next(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!next && errno == EACCES)
      next.reset(::openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!next) return named_error("make directory", full, errno);
    at = std::move(next);
  }
  return {};
}

Result<void> unlink_at(int directory, const std::string &name) {
  if (calls().unlinkat(directory, name.c_str(), 0) != 0 && errno != ENOENT)
    return named_error("remove", name, errno);
  return {};
}

Result<void> remove_dir_at(int directory, const std::string &name) {
  if (calls().unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return named_error("remove directory", name, errno);
  return {};
}

Result<void> rename_dir_at(int directory, const std::string &from, const std::string &to) {
  if (calls().renameat2(directory, from.c_str(), directory, to.c_str(), 0) != 0)
    return named_error("rename", from, errno);
  return sync_fd(directory);
}

Result<void> sync_fd(int fd) {
  while (calls().fsync(fd) != 0) {
    // EINVAL, EBADF on a directory: a filesystem that can't, or one opened for its path only.
    struct stat st {};
    const int why = errno;
    if (why == EINTR) continue;
    if ((why == EINVAL || why == EBADF) && ::fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) break;
    return errno_error("sync to disk", why);
  }
  return {};
}

Result<Fd> duplicate(int fd) {
  Fd same(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!same) return errno_error("keep a file open", errno);
  return same;
}

}  // namespace vbd::sys
