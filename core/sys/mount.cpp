// SPDX-License-Identifier: MIT
#include "core/sys/mount.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/base/text.hpp"
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
      text::cat("mount ", text::printable(spec.node), " at ", text::printable(spec.directory));
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

}  // namespace

Result<void> mount_node(const MountSpec &spec) {
  std::string type = spec.type;
  if (type.empty()) {
    auto found = filesystem_type(spec.node);
    if (!found) return found.error();
    type = std::move(*found);
    if (type.empty() || type == "swap") {
      return Error{kUnknownFilesystem,
                   text::cat(text::printable(spec.node), ": holds no filesystem known here"),
                   "name its type, or choose a partition"};
    }
  }
  unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (spec.read_only) flags |= MS_RDONLY;
  const char *data = spec.read_only ? no_replay(type) : "";
  if (::mount(spec.node.c_str(), spec.directory.c_str(), type.c_str(), flags, data) != 0)
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
  if (::umount2(directory.c_str(), UMOUNT_NOFOLLOW) == 0) return {};
  const std::string name = text::printable(directory);
  if (errno == EINVAL) return Error{kNotMounted, text::cat(name, ": nothing is mounted here")};
  if (errno != EBUSY) return errno_error(text::cat("unmount ", name), errno);
  const std::string users = device == 0 ? "" : describe_processes(processes_on_filesystem(device));
  return Error{kInUse,
               text::cat("unmount ", name, ": in use by ", users.empty() ? "something not visible" : users),
               "end what works below it, then try again"};
}

}  // namespace vbd::sys
