// SPDX-License-Identifier: MIT
// Files and directories: opened once, below a directory that is trusted, without following links; made
// under a temporary name and published whole. Everything is O_CLOEXEC. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

struct FileId {
  std::uint64_t device = 0;  ///< st_dev
  std::uint64_t inode = 0;
  bool operator==(const FileId &) const = default;
  /// "DEVICE-INODE": in names of what is kept about a file.
  [[nodiscard]] std::string text() const { return std::to_string(device) + "-" + std::to_string(inode); }
};

struct FileInfo {
  FileId id;
  std::uint64_t size = 0;       ///< bytes
  std::uint64_t allocated = 0;  ///< bytes on disk: st_blocks * 512
  std::uint64_t links = 0;
  std::uint32_t mode = 0;  ///< st_mode
  std::uint32_t uid = 0, gid = 0;
  /// When the file was made, nanoseconds since 1970; 0 where the filesystem doesn't tell. A new file that
  /// gets the inode number of an old one has another.
  std::uint64_t birth = 0;
  // The type bits of inode(7).
  [[nodiscard]] bool is_regular() const { return (mode & 0170000) == 0100000; }
  [[nodiscard]] bool is_directory() const { return (mode & 0170000) == 0040000; }
  [[nodiscard]] bool is_link() const { return (mode & 0170000) == 0120000; }
};
[[nodiscard]] Result<FileInfo> file_info(int fd);
/// Of a name below `directory`, not following a link at the end.
[[nodiscard]] Result<FileInfo> file_info_at(int directory, const std::string &name);

enum class Access { read, read_write };

/// A directory below which images may live, canonicalised once. `canonical` has no links in it.
struct AllowedDir {
  std::string configured;
  std::string canonical;
};
/// Those that exist; the others are left out.
[[nodiscard]] std::vector<AllowedDir> resolve_allowed(const std::vector<std::string> &directories);

/// The path as the allowed directories see it: its directory part canonical where it begins with an allowed
/// directory as configured. kOutside otherwise, naming the allowed directories.
[[nodiscard]] Result<std::string> confine(const std::string &path, const std::vector<AllowedDir> &allowed);

/// Opens a directory below an allowed one (or an allowed one itself): openat2 with RESOLVE_BENEATH and
/// RESOLVE_NO_SYMLINKS; refuses a directory on the way that others can write to (a sticky one whose entry
/// is ours excepted; group 0 is not "others").
[[nodiscard]] Result<Fd> open_dir_below(const std::string &path, const std::vector<AllowedDir> &allowed);

/// Opens a regular file below an allowed directory by the same rules, O_NONBLOCK, never creating.
/// kSymlink, kNotRegular, kNotFound, kOutside, kUnsafeParent name the component.
[[nodiscard]] Result<Fd> open_image_below(const std::string &path, const std::vector<AllowedDir> &allowed,
                                          Access access);

/// Opens any regular file that the caller may open; only the last component may not be a link.
[[nodiscard]] Result<Fd> open_image_anywhere(const std::string &path, Access access);

/// Opens the directory that holds `path` (links in it followed): for the image verbs.
[[nodiscard]] Result<Fd> open_parent(const std::string &path);

/// Last component of a path.
[[nodiscard]] std::string base_name(std::string_view path);
/// All but the last component: "/a/b" -> "/a", "/a" -> "/".
[[nodiscard]] std::string dir_name(std::string_view path);
/// Absolute and normal, by text alone, against the current directory; links are not looked at.
[[nodiscard]] std::string absolute_path(const std::string &path);

/// Whole content, refused above `limit` bytes.
[[nodiscard]] Result<std::string> read_file(const std::string &path, std::size_t limit);
[[nodiscard]] Result<std::string> read_file_at(int directory, const std::string &name, std::size_t limit);
/// Names in a directory but "." and "..", sorted.
[[nodiscard]] Result<std::vector<std::string>> list_dir(int directory);

struct Ownership {
  std::int64_t uid = -1, gid = -1;  ///< -1: as created
  std::uint32_t mode = 0600;
};

/// A new file under a temporary name ".vbd-NAME.RANDOM.tmp" beside its final one, O_EXCL, read-write.
/// Unlinked by the destructor unless published. `name` stays as it is.
class TempFile {
 public:
  [[nodiscard]] static Result<TempFile> create(int directory, const std::string &name,
                                               const Ownership &ownership = {});
  TempFile(TempFile &&) noexcept;
  TempFile &operator=(TempFile &&) noexcept;
  ~TempFile();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string &temp_name() const { return temp_name_; }

  /// fsync, then the final name appears, never replacing (link and unlink where the filesystem has no
  /// RENAME_NOREPLACE), then fsync of the directory. kExists when the name is taken. `sync` false: no fsync.
  [[nodiscard]] Result<Fd> publish_new(bool sync = true) &&;
  /// fsync, rename over the name, fsync of the directory.
  [[nodiscard]] Result<void> publish_replacing() &&;

 private:
  TempFile() = default;
  Fd directory_;  // duplicate of the caller's
  Fd fd_;
  std::string name_, temp_name_;
};

/// What a killed run left: names ".vbd-*.tmp" of ours that no living process has open.
[[nodiscard]] Result<std::vector<std::string>> stale_temp_files(int directory);

/// Whole content replaced atomically and durably: TempFile + publish_replacing.
[[nodiscard]] Result<void> replace_file_at(int directory, const std::string &name, std::string_view content,
                                           std::uint32_t mode = 0600);
/// The same for a name that is free: never replaces, kExists.
[[nodiscard]] Result<void> create_file_at(int directory, const std::string &name, std::string_view content,
                                          std::uint32_t mode = 0600);
[[nodiscard]] Result<void> make_dir_at(int directory, const std::string &name, std::uint32_t mode);
/// mkdir -p with fsync of each parent; existing directories are fine.
[[nodiscard]] Result<void> make_dirs(const std::string &path, std::uint32_t mode);
[[nodiscard]] Result<void> unlink_at(int directory, const std::string &name);      ///< missing is fine
[[nodiscard]] Result<void> remove_dir_at(int directory, const std::string &name);  ///< missing is fine
/// A directory gets another name beside: rename(2) replaces nothing but an empty directory, on every
/// filesystem.
[[nodiscard]] Result<void> rename_dir_at(int directory, const std::string &from, const std::string &to);
[[nodiscard]] Result<void> sync_fd(int fd);
/// Another descriptor of the same open file description.
[[nodiscard]] Result<Fd> duplicate(int fd);

/// Of the filesystem that a descriptor lies on.
struct FilesystemInfo {
  std::uint64_t free_bytes = 0, total_bytes = 0;
  std::string type;     ///< "ext4", "nfs", ... as mountinfo says, or the magic number in hex
  bool shared = false;  ///< other hosts may reach it: nfs, cifs, smb3, ceph, gfs2, ocfs2, glusterfs, 9p, afs,
                        ///< lustre, gpfs, ...
  bool read_only = false;
};
[[nodiscard]] Result<FilesystemInfo> filesystem_info(int fd);

}  // namespace vbd::sys
