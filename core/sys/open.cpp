// SPDX-License-Identifier: MIT
// How images and their directories are opened. The walk goes one component at a time, so that each
// directory on the way can be looked at and an error can name the component.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/take_file.hpp"
#include "core/sys/writers.hpp"

namespace vbd::sys {
namespace {

/// One component below `directory`, never through a link. Kernels before 5.6 have no openat2; for a single
/// name O_NOFOLLOW is as strict.
int open_step(int directory, const std::string &name, int flags) {
  flags |= O_CLOEXEC | O_NOFOLLOW;
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0; attempt < 16; ++attempt) {
    const long fd = ::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno == ENOSYS || errno == EPERM) break;      // EPERM: seccomp filters of old containers say so
    if (errno != EAGAIN && errno != EINTR) return -1;  // EAGAIN: a rename raced (openat2(2))
  }
  return ::openat(directory, name.c_str(), flags);
}

std::string_view type_name(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a regular file";
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    case S_IFBLK:
      return "a block device";
    case S_IFCHR:
      return "a character device";
    default:
      return "of an unknown type";
  }
}

Error symlink_error(const std::string &path) {
  return {kSymlink, text::cat(text::printable(path), ": is a symbolic link"),
          "name the file that it points to, links are not followed"};
}

Error not_regular_error(const std::string &path, mode_t mode) {
  return {kNotRegular, text::cat(text::printable(path), ": is ", type_name(mode), ", not a regular file")};
}

Error open_error(const std::string &path, int error_number) {
  return errno_error(text::cat("open ", text::printable(path)), error_number);
}

std::string octal(mode_t mode) {
  std::string digits;
  for (unsigned rest = mode & 07777u; rest != 0; rest >>= 3)
    digits.insert(digits.begin(), static_cast<char>('0' + (rest & 7)));
  return "0" + digits;
}

bool ours(const struct stat &st) {
  return st.st_uid == 0 || st.st_uid == ::geteuid();
}

/// A directory on the way and what is known of it.
struct Step {
  Fd fd;
  std::string path;
  struct stat st {};
};

/// In a sticky directory only an entry's owner, the directory's and root can replace it (unlink(2), EPERM).
Result<void> check_parent(const Step &parent, const struct stat &entry) {
  const auto writer = other_writer(parent.fd.get());
  if (!writer) return {};
  const struct stat &st = parent.st;
  if ((st.st_mode & S_ISVTX) != 0 && ours(st) && ours(entry)) return {};
  return Error{
      kUnsafeParent,
      text::cat(text::printable(parent.path), ": this directory ", writer->says, " (mode ", octal(st.st_mode),
                ", owner ", st.st_uid, ", group ", st.st_gid, "), who could exchange what is in it"),
      text::cat(writer->mend, " ", text::printable(parent.path))};
}

Error step_error(const Step &parent, const std::string &name, int error_number) {
  const std::string path = parent.path == "/" ? "/" + name : text::cat(parent.path, "/", name);
  struct stat st {};
  if (::fstatat(parent.fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
    if (S_ISLNK(st.st_mode)) return symlink_error(path);
    if (!S_ISDIR(st.st_mode)) {
      return {kNotFound,
              text::cat(text::printable(path), ": is ", type_name(st.st_mode), ", not a directory")};
    }
  }
  return open_error(path, error_number);
}

Result<Step> start_at(const std::string &directory) {
  Step step;
  step.path = directory;
  step.fd.reset(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!step.fd || ::fstat(step.fd.get(), &step.st) != 0) return open_error(directory, errno);
  return step;
}

Result<Step> step_into(const Step &parent, const std::string &name) {
  Step step;
  step.fd.reset(open_step(parent.fd.get(), name, O_PATH | O_DIRECTORY));
  if (!step.fd) return step_error(parent, name, errno);
  step.path = parent.path == "/" ? "/" + name : text::cat(parent.path, "/", name);
  if (::fstat(step.fd.get(), &step.st) != 0) return open_error(step.path, errno);
  VBD_TRY(check_parent(parent, step.st));
  return step;
}

/// From the allowed directory that holds the confined path `path` down to the directory `path`.
Result<Step> walk_to(const std::string &path, const std::vector<AllowedDir> &allowed) {
  const AllowedDir *root = nullptr;
  for (const AllowedDir &directory : allowed) {
    const std::string prefix = directory.canonical == "/" ? "/" : directory.canonical + "/";
    const bool inside = path == directory.canonical || path.compare(0, prefix.size(), prefix) == 0;
    if (inside && (root == nullptr || directory.canonical.size() > root->canonical.size())) root = &directory;
  }
  if (root == nullptr)
    return Error{kOutside, text::cat(text::printable(path), ": lies outside the allowed directories")};
  Result<Step> step = start_at(root->canonical);
  if (!step) return step;
  for (const std::string &name : text::split(path.substr(root->canonical.size()), '/')) {
    if (name.empty()) continue;
    Result<Step> next = step_into(*step, name);
    if (!next) return next;
    step = std::move(next);
  }
  return step;
}

/// The last component: looked at before it is opened, because opening a device can already do something.
Result<Fd> open_regular(int directory, const std::string &name, const std::string &path, Access access,
                        struct stat &st) {
  const auto look = [&]() -> Result<void> {
    if (S_ISLNK(st.st_mode)) return symlink_error(path);
    if (!S_ISREG(st.st_mode)) return not_regular_error(path, st.st_mode);
    return {};
  };
  if (name.empty()) return not_regular_error(path, S_IFDIR);
  if (::fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return open_error(path, errno);
  VBD_TRY(look());
  const int mode = access == Access::read ? O_RDONLY : O_RDWR;
  Fd fd(open_step(directory, name, mode | O_NONBLOCK | O_NOCTTY));
  if (!fd) return errno == ELOOP ? symlink_error(path) : open_error(path, errno);
  if (::fstat(fd.get(), &st) != 0) return open_error(path, errno);
  VBD_TRY(look());
  ::fcntl(fd.get(), F_SETFL, 0);  // O_NONBLOCK was for a FIFO put there meanwhile; helpers get the descriptor
  return fd;
}

}  // namespace

Result<Fd> open_dir_below(const std::string &path, const std::vector<AllowedDir> &allowed) {
  VBD_TRY_ASSIGN(const auto confined, confine(path, allowed));
  Result<Step> step = walk_to(confined, allowed);
  if (!step) return step.error();
  VBD_TRY(check_parent(*step, step->st));
  Fd fd(::openat(step->fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return open_error(step->path, errno);
  return fd;
}

Result<Fd> open_image_below(const std::string &path, const std::vector<AllowedDir> &allowed, Access access) {
  VBD_TRY_ASSIGN(const auto confined, confine(path, allowed));
  for (const AllowedDir &directory : allowed) {
    if (confined == directory.canonical) return not_regular_error(confined, S_IFDIR);
  }
  const Result<Step> parent = walk_to(dir_name(confined), allowed);
  if (!parent) return parent.error();
  struct stat st {};
  Result<Fd> fd = open_regular(parent->fd.get(), base_name(confined), confined, access, st);
  if (!fd) return fd;
  VBD_TRY(check_parent(*parent, st));
  return fd;
}

Result<Fd> open_image_anywhere(const std::string &path, Access access) {
  VBD_TRY_ASSIGN(const auto parent, open_parent(path));
  struct stat st {};
  return open_regular(parent.get(), base_name(path), path, access, st);
}

Result<Fd> open_regular_at(int directory, const std::string &name, const std::string &path, Access access) {
  struct stat st {};
  return open_regular(directory, name, path, access, st);
}

Result<Fd> open_parent(const std::string &path) {
  if (path.empty()) return Error{kNotFound, "an empty path names no file"};
  // Not normalised: "link/.." is for the kernel to resolve, as with any other program.
  const std::string directory = dir_name(path);
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == EACCES) fd.reset(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return open_error(directory, errno);
  return fd;
}

}  // namespace vbd::sys
