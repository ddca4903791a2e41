// SPDX-License-Identifier: MIT
#include "core/sys/components.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "core/base/text.hpp"

namespace vbd::sys {
namespace {

constexpr std::size_t kNameBuffer =
    16384;  // what glibc suggests is 1 KiB; directories of large sites need more

Result<Fd> open_at(int directory, const std::string &name, int flags, const std::string &shown) {
  Fd fd(::openat(directory, name.c_str(), flags | O_CLOEXEC));
  if (!fd) return errno_error(text::cat("open ", text::printable(shown)), errno);
  return fd;
}

}  // namespace

Result<Fd> open_root() {
  return open_at(AT_FDCWD, "/", O_PATH | O_DIRECTORY, "/");
}

Result<Fd> open_component(int directory, const std::string &name, const std::string &shown) {
  return open_at(directory, name, O_PATH | O_NOFOLLOW, shown);
}

Result<Fd> open_for_reading(int directory, const std::string &name, const std::string &shown) {
  return open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, shown);
}

Result<Fd> open_directory(const std::string &path) {
  return open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, path);
}

Result<Fd> open_directory_at(int directory, const std::string &name, const std::string &shown) {
  return open_at(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, shown);
}

bool path_exists(const std::string &path) {
  return ::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_EACCESS) == 0;
}

Result<std::string> canonical_path(const std::string &path) {
  const std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  if (!real) return errno_error(text::printable(path), errno);
  return std::string(real.get());
}

Result<Fd> open_null() {
  return open_at(AT_FDCWD, "/dev/null", O_RDWR, "/dev/null");
}

Result<std::size_t> read_at(int fd, void *to, std::size_t length, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < length) {
    const ssize_t n =
        ::pread(fd, static_cast<char *>(to) + done, length - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read", errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::uint32_t effective_uid() {
  return ::geteuid();
}

std::optional<std::uint32_t> user_by_name(const std::string &name) {
  passwd entry{};
  passwd *found = nullptr;
  std::string buffer(kNameBuffer, '\0');
  ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) return std::nullopt;
  return entry.pw_uid;
}

std::optional<std::uint32_t> group_by_name(const std::string &name) {
  group entry{};
  group *found = nullptr;
  std::string buffer(kNameBuffer, '\0');
  ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) return std::nullopt;
  return entry.gr_gid;
}

}  // namespace vbd::sys
