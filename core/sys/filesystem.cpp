// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "core/sys/files.hpp"
#include "core/sys/proc.hpp"

namespace vbd::sys {
namespace {

/// The mount that the descriptor was opened through: exact also where st_dev is not the mount's (btrfs).
std::string type_by_mount_id(int fd) {
  struct statx st {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) != 0) return {};
  if ((st.stx_mask & STATX_MNT_ID) == 0) return {};
  const auto mounts = read_mountinfo();
  if (!mounts) return {};
  for (const MountEntry &mount : *mounts) {
    if (mount.id == st.stx_mnt_id) return mount.type;
  }
  return {};
}

bool is_shared(std::string_view type) {
  static constexpr std::array<std::string_view, 25> kShared{
      "nfs",       "nfs4",           "cifs",       "smb3",     "smbfs",  "ceph",  "gfs2",
      "ocfs2",     "glusterfs",      "9p",         "afs",      "lustre", "gpfs",  "beegfs",
      "orangefs",  "pvfs2",          "coda",       "virtiofs", "vboxsf", "ncpfs", "fuse.glusterfs",
      "fuse.ceph", "fuse.ceph-fuse", "fuse.sshfs", "fuse.mfs"};
  return std::find(kShared.begin(), kShared.end(), type) != kShared.end();
}

}  // namespace

Result<FilesystemInfo> filesystem_info(int fd) {
  struct statfs fs {};
  if (::fstatfs(fd, &fs) != 0) return errno_error("look at a filesystem", errno);
  FilesystemInfo info;
  const auto unit = static_cast<std::uint64_t>(fs.f_frsize > 0 ? fs.f_frsize : fs.f_bsize);
  info.free_bytes = fs.f_bavail * unit;
  info.total_bytes = fs.f_blocks * unit;
  info.read_only = (fs.f_flags & ST_RDONLY) != 0;
  info.type = type_by_mount_id(fd);
  if (info.type.empty()) {
    std::array<char, 24> hex{};
    std::snprintf(hex.data(), hex.size(), "0x%lx", static_cast<unsigned long>(fs.f_type));
    info.type = hex.data();
  }
  info.shared = is_shared(info.type);
  return info;
}

}  // namespace vbd::sys
