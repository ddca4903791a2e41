// SPDX-License-Identifier: MIT
#include "core/sys/mount.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/files.hpp"
#include "core/sys/proc.hpp"
#include "core/sys/usage.hpp"

namespace vbd::sys {
namespace {

/// The option that keeps a read-only mount from writing to the journal, as each filesystem calls it
/// (ext4(5), xfs(5), btrfs(5); Documentation/filesystems of Linux for the others).
const char *no_replay(std::string_view type) {
  if (type == "ext3" || type == "ext4") return "noload";
  if (type == "xfs" || type == "f2fs" || type == "nilfs2") return "norecovery";
  if (type == "btrfs") return "rescue=nologreplay";
  if (type == "reiserfs") return "nolog";
  return "";
}

Error mount_error(const MountSpec &spec, const std::string &type, int error_number) {
  const std::string what =
      text::cat("mount ", text::printable(spec.node), " at ", text::printable(spec.point.path));
  if (error_number == ENODEV)
    return {kUnknownFilesystem, text::cat(what, ": this kernel has no filesystem ", text::printable(type))};
  if (error_number == EINVAL)
    return {kUnknownFilesystem, text::cat(what, ": it does not hold a usable ", text::printable(type))};
  Error error = errno_error(what, error_number);
  if (error_number != EBUSY) return error;
  const auto usage = find_node_usage(spec.node);
  return usage && usage->any() ? error.at(usage->describe()) : error;
}

/// The st_dev of what is mounted at exactly this directory; 0 when nothing is.
dev_t device_mounted_at(const std::string &directory) {
  struct stat st {
  }, parent{};
  const std::string up = directory + "/..";
  if (::stat(directory.c_str(), &st) != 0 || ::stat(up.c_str(), &parent) != 0) return 0;
  return st.st_dev == parent.st_dev ? 0 : st.st_dev;
}

Error point_error(const std::string &directory, int error_number) {
  struct stat st {};
  if (::lstat(directory.c_str(), &st) != 0 || !S_ISLNK(st.st_mode))
    return errno_error(text::cat("open ", text::printable(directory)), error_number);
  const auto real = canonical_path(directory);
  return {kMountLink,
          text::cat(text::printable(directory), ": is a symbolic link, nothing is mounted through one"),
          real ? text::cat("name the directory that it leads to: ", text::printable(*real))
               : std::string("it leads nowhere")};
}

/// The directory above, no link on the way to it (a link that was put there meanwhile could lead to another
/// mount), and the name in it. To hold the mount itself open would keep it busy.
std::string pinned_path(const std::string &directory, Fd &parent) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const std::string above = dir_name(directory);
  parent.reset(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, above.c_str(), &how, sizeof how)));
  if (!parent && (errno == ENOSYS || errno == EPERM)) return directory;  // as in open.cpp
  return parent ? text::cat("/proc/self/fd/", parent.get(), "/", base_name(directory)) : std::string();
}

}  // namespace

Result<MountPoint> open_mount_point(const std::string &directory) {
  MountPoint point;
  point.fd.reset(::open(directory.c_str(), O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC));
  if (!point.fd) return point_error(directory, errno);
  const std::string own = text::cat("/proc/self/fd/", point.fd.get());
  std::string path(PATH_MAX, '\0');
  const ssize_t length = ::readlink(own.c_str(), path.data(), path.size());
  if (length < 0) return errno_error(text::cat("read ", own), errno);
  path.resize(static_cast<std::size_t>(length));
  struct stat named {
  }, held{};
  const bool same = ::lstat(path.c_str(), &named) == 0 && ::fstat(point.fd.get(), &held) == 0 &&
                    named.st_ino == held.st_ino && named.st_dev == held.st_dev;
  if (!same) return errno_error(text::cat("open ", text::printable(directory)), ENOENT);  // removed meanwhile
  point.path = std::move(path);
  return point;
}

Result<void> mount_node(const MountSpec &spec) {
  std::string type = spec.type;
  if (type.empty()) {
    VBD_TRY_ASSIGN(auto found, filesystem_type(spec.node));
    type = std::move(found);
    if (type.empty() || type == "swap") {
      return Error{kUnknownFilesystem,
                   text::cat(text::printable(spec.node), ": holds no filesystem known here"),
                   "name its type, or choose a partition"};
    }
  }
  unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (spec.read_only) flags |= MS_RDONLY;
  const char *data = spec.read_only ? no_replay(type) : "";
  const std::string target = text::cat("/proc/self/fd/", spec.point.fd.get());
  if (::mount(spec.node.c_str(), target.c_str(), type.c_str(), flags, data) != 0)
    return mount_error(spec, type, errno);
  return {};
}

Result<void> sync_filesystem(const std::string &directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd || ::syncfs(fd.get()) != 0) return errno_error("write out " + text::printable(directory), errno);
  return {};
}

Result<void> unmount(const std::string &directory) {
  const dev_t device = device_mounted_at(directory);
  const std::string name = text::printable(directory);
  Fd parent;
  const std::string path = pinned_path(directory, parent);
  if (path.empty()) return errno_error(text::cat("unmount ", name), errno);
  if (::umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  if (errno == EINVAL) return Error{kNotMounted, text::cat(name, ": nothing is mounted here")};
  if (errno != EBUSY) return errno_error(text::cat("unmount ", name), errno);
  const std::string users = device == 0 ? "" : describe_processes(processes_on_filesystem(device));
  return Error{kInUse,
               text::cat("unmount ", name, ": in use by ", users.empty() ? "something not visible" : users),
               "end what works below it, then try again"};
}

}  // namespace vbd::sys
