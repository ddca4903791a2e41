// SPDX-License-Identifier: MIT
#include "core/sys/spare.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/base/text.hpp"
#include "core/sys/calls.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kUsual = 4 * kBlock;
constexpr std::string_view kFiller = "Room for a record, kept by vbdkit for a full filesystem.\n";
/// Of the lock: behind any content.
constexpr off_t kLockByte = off_t{1} << 62;

const std::string &spare_name() {
  static const std::string kName(kSpareFile);
  return kName;
}

Error spare_error(std::string_view what, int error_number) {
  return errno_error(text::cat(what, " ", kSpareFile), error_number);
}

struct Spare {
  Fd fd;
  struct stat st {};

  /// What fits into blocks that it has.
  [[nodiscard]] std::size_t room() const { return static_cast<std::size_t>(st.st_blocks) * 512; }
  [[nodiscard]] Result<void> look() {
    return ::fstat(fd.get(), &st) == 0 ? Result<void>() : spare_error("stat", errno);
  }
};

std::size_t round_up(std::size_t bytes) {
  return (bytes + kBlock - 1) / kBlock * kBlock;
}

/// Of this host's processes one at a time has the spare; it goes with the descriptor. Where a filesystem has
/// no locks, the lock that the caller holds on the directory must do.
Result<void> lock_whole(int fd) {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = kLockByte;
  lock.l_len = 1;
  while (::fcntl(fd, F_OFD_SETLKW, &lock) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP) return {};
    return spare_error("lock", errno);
  }
  return {};
}

/// Others may have exchanged it while we waited for the lock.
bool still_named(int directory, const struct stat &st) {
  struct stat named {};
  return ::fstatat(directory, spare_name().c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         named.st_ino == st.st_ino && named.st_dev == st.st_dev;
}

/// Locked, ours, and under no other name: what is written into it shows nowhere else.
Result<Spare> open_spare(int directory, bool create) {
  constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  for (int attempt = 0; attempt < 16; ++attempt) {
    Spare spare;
    spare.fd.reset(::openat(directory, spare_name().c_str(), kFlags));
    if (!spare.fd && errno == ENOENT && create)
      spare.fd.reset(::openat(directory, spare_name().c_str(), kFlags | O_CREAT | O_EXCL, 0600));
    if (!spare.fd && errno == EEXIST) continue;
    if (!spare.fd) return spare_error("open", errno);
    VBD_TRY(lock_whole(spare.fd.get()));
    VBD_TRY(spare.look());
    if (!still_named(directory, spare.st)) continue;
    if (!S_ISREG(spare.st.st_mode) || spare.st.st_nlink != 1 || spare.st.st_uid != ::geteuid())
      return Error(kNotRegular, text::cat(kSpareFile, ": is not a file that vbdkit made"));
    return spare;
  }
  return spare_error("open", EAGAIN);
}

Result<void> write_at(int fd, std::string_view content, std::size_t at) {
  while (!content.empty()) {
    const ssize_t put = ::pwrite(fd, content.data(), content.size(), static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return spare_error("write", errno);
    content.remove_prefix(static_cast<std::size_t>(put));
    at += static_cast<std::size_t>(put);
  }
  return {};
}

/// Really written, for room that is only promised may be gone when it is needed.
Result<void> grow(Spare &spare, std::size_t wanted) {
  const auto has = static_cast<std::size_t>(spare.st.st_size);
  std::string filler;
  while (has + filler.size() < wanted) filler += kFiller;
  filler.resize(wanted - has);
  auto grown = write_at(spare.fd.get(), filler, has);
  if (grown) grown = sync_fd(spare.fd.get());
  if (!grown) (void)::ftruncate(spare.fd.get(), spare.st.st_size);
  VBD_TRY(spare.look());
  return grown;
}

/// Whether another file may stand under `name` at once, with the former one under the spare's.
Result<void> change_names(int directory, const std::string &name) {
  const std::string &spare = spare_name();
  if (calls().renameat2(directory, spare.c_str(), directory, name.c_str(), RENAME_EXCHANGE) == 0)
    return sync_fd(directory);
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
    return errno_error(text::cat("replace ", text::printable(name)), errno);
  if (calls().renameat2(directory, spare.c_str(), directory, name.c_str(), 0) != 0)
    return errno_error(text::cat("replace ", text::printable(name)), errno);
  return sync_fd(directory);
}

Result<void> replace_with_spare(int directory, const std::string &name, std::string_view content,
                                std::uint32_t mode) {
  VBD_TRY(file_info_at(directory, name));
  VBD_TRY_ASSIGN(auto spare, open_spare(directory, false));
  const int fd = spare.fd.get();
  VBD_TRY(write_at(fd, content, 0));
  if (::ftruncate(fd, static_cast<off_t>(content.size())) != 0) return spare_error("shorten", errno);
  if (::fchmod(fd, static_cast<mode_t>(mode)) != 0) return spare_error("change the mode of", errno);
  VBD_TRY(sync_fd(fd));
  return change_names(directory, name);
}

/// Of a file: what changes when it, or its name, gets another meaning.
struct Seen {
  ino_t inode = 0;
  std::int64_t seconds = 0, nanoseconds = 0;
  bool operator==(const Seen &) const = default;
};

Seen see(int directory, const std::string &name) {
  struct stat st {};
  if (::fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
  return {st.st_ino, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};
}

}  // namespace

std::string lock_spare_name(const std::string &node) {
  return text::cat(kSpareFile, "-", node);
}

bool is_spare(std::string_view name) {
  return name.starts_with(kSpareFile) && (name.size() == kSpareFile.size() || name[kSpareFile.size()] == '-');
}

Result<void> drop_spares(int directory) {
  VBD_TRY_ASSIGN(auto names, list_dir(directory));
  for (const std::string &name : names) {
    if (!is_spare(name)) continue;
    if (auto gone = unlink_at(directory, name); !gone) return gone;
  }
  return {};
}

Result<std::string> read_record_at(int directory, const std::string &name, std::size_t limit) {
  constexpr int kTries = 8;
  for (int attempt = 1;; ++attempt) {
    const Seen before = see(directory, name);
    auto content = read_file_at(directory, name, limit);
    if (!content || attempt == kTries || see(directory, name) == before) return content;
  }
}

Result<void> keep_spare(int directory, std::size_t bytes) {
  const std::size_t wanted = std::max(kUsual, round_up(bytes) + kBlock);
  VBD_TRY_ASSIGN(auto spare, open_spare(directory, true));
  if (static_cast<std::size_t>(spare.st.st_size) >= wanted) return {};
  const auto grown = grow(spare, wanted);
  if (grown || spare.room() >= bytes) return {};
  if (spare.st.st_size == 0) (void)unlink_at(directory, spare_name());
  return grown;
}

Result<void> replace_record_at(int directory, const std::string &name, std::string_view content,
                               std::uint32_t mode) {
  // Never without a record beside it: whoever drops the last record drops the spare.
  const bool is_new = !file_info_at(directory, name);
  if (!is_new) (void)keep_spare(directory, content.size());
  auto written = replace_file_at(directory, name, content, mode);
  if (written && is_new) (void)keep_spare(directory, content.size());
  if (written || !written.error().is(kNoSpace)) return written;
  if (!replace_with_spare(directory, name, content, mode)) return written;
  (void)keep_spare(directory, content.size());  // the room of the former record, before others have it
  return {};
}

}  // namespace vbd::sys
