// SPDX-License-Identifier: MIT
#include "core/plugin/trust.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "core/base/text.hpp"
#include "core/sys/errors.hpp"

namespace vbd::plugin {
namespace {

Error untrusted(const std::string &path, const std::string &component, const std::string &why,
                const std::string &hint) {
  std::string message = text::cat(text::printable(path), ": not loaded: ");
  if (component != path) message += text::cat(text::printable(component), " ");
  return Error(kUntrusted, message + why, hint);
}

/// What is wrong with the owner or the mode of `component`, if anything.
std::optional<Error> check_owner(const struct stat &st, const std::string &path,
                                 const std::string &component) {
  if (st.st_uid != 0 && st.st_uid != ::geteuid()) {
    return untrusted(path, component, text::cat("belongs to user ", st.st_uid, ", not to root"),
                     text::cat("chown root ", text::printable(component)));
  }
  if ((st.st_mode & S_IWOTH) != 0) {
    return untrusted(path, component, "is writable by others",
                     text::cat("chmod o-w ", text::printable(component)));
  }
  if ((st.st_mode & S_IWGRP) != 0 && st.st_gid != 0) {
    return untrusted(path, component, text::cat("is writable by its group ", st.st_gid),
                     text::cat("chmod g-w ", text::printable(component)));
  }
  return std::nullopt;
}

std::optional<Error> check_file(const struct stat &st, const std::string &path) {
  if (S_ISLNK(st.st_mode)) {
    return untrusted(path, path, "is a symbolic link",
                     "put the plugin itself there, or configure the directory that it lies in");
  }
  if (!S_ISREG(st.st_mode)) return untrusted(path, path, "is not a regular file", "remove it");
  if ((st.st_mode & (S_ISUID | S_ISGID)) != 0) {
    return untrusted(path, path, "has a set-id bit", text::cat("chmod ug-s ", text::printable(path)));
  }
  return check_owner(st, path, path);
}

bool is_normal(const std::string &path) {
  if (path.size() < 2 || path.front() != '/' || path.find('\0') != std::string::npos) return false;
  const std::string whole = path + "/";
  for (const char *bad : {"//", "/./", "/../"}) {
    if (whole.find(bad) != std::string::npos) return false;
  }
  return true;
}

/// The directory that holds the last component, after a check of it and all above it.
Result<sys::Fd> walk_to_parent(const std::string &path) {
  sys::Fd at(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::size_t from = 1;
  while (true) {
    const std::string here = from == 1 ? "/" : path.substr(0, from - 1);
    struct stat st {};
    if (!at || ::fstat(at.get(), &st) != 0)
      return sys::errno_error(text::cat("open ", text::printable(here)), errno);
    if (S_ISLNK(st.st_mode))
      return untrusted(path, here, "is a symbolic link", "name the directory that it leads to");
    if (!S_ISDIR(st.st_mode)) return sys::errno_error(text::cat("open ", text::printable(here)), ENOTDIR);
    if (auto wrong = check_owner(st, path, here)) return *wrong;
    const std::size_t end = path.find('/', from);
    if (end == std::string::npos) return at;
    const std::string name = path.substr(from, end - from);
    sys::Fd next(::openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return sys::errno_error(text::cat("open ", text::printable(path.substr(0, end))), errno);
    at = std::move(next);
    from = end + 1;
  }
}

}  // namespace

Result<sys::Fd> open_trusted(const std::string &path) {
  if (!is_normal(path)) {
    return untrusted(path, path, "is not an absolute path without . and ..", "write the whole path");
  }
  auto parent = walk_to_parent(path);
  if (!parent) return parent.error();
  const std::string name = path.substr(path.rfind('/') + 1);
  // Looked at before it is opened: opening a FIFO or a device could block or act. Nobody but its owner, who
  // is trusted by now, can replace it in between.
  struct stat st {};
  if (::fstatat(parent->get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return sys::errno_error(text::cat("open ", text::printable(path)), errno);
  }
  if (auto wrong = check_file(st, path)) return *wrong;
  sys::Fd file(::openat(parent->get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return sys::errno_error(text::cat("open ", text::printable(path)), errno);
  return file;
}

}  // namespace vbd::plugin
