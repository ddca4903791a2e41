// SPDX-License-Identifier: MIT
// A temporary file's writer holds a write lock on one byte far behind any image (kAliveByte), in the open
// file description: it goes with the process, so an unlocked one is what a killed run left. QEMU's lock
// bytes on the same file are elsewhere and stay usable meanwhile.
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "core/base/text.hpp"
#include "core/sys/calls.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {
namespace {

constexpr std::string_view kPrefix = ".vbd-", kSuffix = ".tmp", kHex = "0123456789abcdef";
constexpr std::size_t kRandomDigits = 16;
constexpr std::size_t kLongestPart = 200;  // of NAME: the whole stays below NAME_MAX
constexpr off_t kAliveByte = off_t{1} << 62;

struct flock alive_lock(short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = kAliveByte;
  lock.l_len = 1;
  return lock;
}

std::string random_digits() {
  std::array<unsigned char, kRandomDigits / 2> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return {};
  std::string digits;
  for (const unsigned char byte : bytes) {
    digits += kHex[byte >> 4];
    digits += kHex[byte & 15];
  }
  return digits;
}

bool is_temp_name(std::string_view name) {
  const std::size_t tail = kRandomDigits + 1 + kSuffix.size();
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) || name.size() <= kPrefix.size() + tail)
    return false;
  const std::string_view end = name.substr(name.size() - tail);
  return end.front() == '.' && end.substr(1, kRandomDigits).find_first_not_of(kHex) == std::string_view::npos;
}

/// Locked, and still what its name says: a clean-up may have come between open and lock.
bool claim(int directory, int fd, const std::string &name) {
  struct flock lock = alive_lock(F_WRLCK);
  // A filesystem without locks: nothing can be recognised there, and nothing is removed there either.
  if (calls().set_lock(fd, &lock) != 0 && (errno == EAGAIN || errno == EACCES)) return false;
  struct stat open_file {
  }, named{};
  return ::fstat(fd, &open_file) == 0 &&
         ::fstatat(directory, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

Result<void> give_away(int fd, const Ownership &ownership) {
  const auto uid = static_cast<uid_t>(ownership.uid);
  const auto gid = static_cast<gid_t>(ownership.gid);
  if ((ownership.uid >= 0 || ownership.gid >= 0) && ::fchown(fd, uid, gid) != 0)
    return errno_error("change the owner of a new file", errno);
  if (::fchmod(fd, static_cast<mode_t>(ownership.mode)) != 0)
    return errno_error("change the mode of a new file", errno);
  return {};
}

/// False with errno EEXIST when `to` is taken.
bool rename_without_replacing(int directory, const std::string &from, const std::string &to) {
  if (calls().renameat2(directory, from.c_str(), directory, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return false;
  if (calls().linkat(directory, from.c_str(), directory, to.c_str(), 0) != 0) return false;
  calls().unlinkat(directory, from.c_str(), 0);
  return true;
}

bool is_stale(int directory, const std::string &name) {
  Fd fd(::openat(directory, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return false;
  struct flock lock = alive_lock(F_WRLCK);
  return ::fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

}  // namespace

TempFile::TempFile(TempFile &&other) noexcept
    : directory_(std::move(other.directory_)),
      fd_(std::move(other.fd_)),
      name_(std::move(other.name_)),
      temp_name_(std::exchange(other.temp_name_, {})) {}

TempFile &TempFile::operator=(TempFile &&other) noexcept {
  std::swap(directory_, other.directory_);
  std::swap(fd_, other.fd_);
  std::swap(name_, other.name_);
  std::swap(temp_name_, other.temp_name_);
  return *this;
}

TempFile::~TempFile() {
  if (directory_ && !temp_name_.empty()) calls().unlinkat(directory_.get(), temp_name_.c_str(), 0);
}

Result<TempFile> TempFile::create(int directory, const std::string &name, const Ownership &ownership) {
  if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..")
    return Error{kNotFound, text::cat("\"", text::printable(name), "\" is not the name of a file")};
  TempFile temp;
  temp.name_ = name;
  temp.directory_.reset(::fcntl(directory, F_DUPFD_CLOEXEC, 3));
  if (!temp.directory_) return errno_error("keep a directory open", errno);
  const std::string what = text::cat("create a temporary file for ", text::printable(name));
  for (int attempt = 0; attempt < 16; ++attempt) {
    const std::string candidate =
        text::cat(kPrefix, name.substr(0, kLongestPart), ".", random_digits(), kSuffix);
    temp.fd_.reset(
        ::openat(directory, candidate.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!temp.fd_ && errno == EEXIST) continue;
    if (!temp.fd_) return errno_error(what, errno);
    temp.temp_name_ = candidate;
    if (!claim(directory, temp.fd_.get(), candidate)) {
      temp.temp_name_.clear();
      continue;
    }
    VBD_TRY(give_away(temp.fd_.get(), ownership));
    return temp;
  }
  return errno_error(what, EEXIST);
}

Result<Fd> TempFile::publish_new(bool sync) && {
  if (sync) {
    if (auto synced = sync_fd(fd_.get()); !synced) return synced.error();
  }
  if (!rename_without_replacing(directory_.get(), temp_name_, name_)) {
    if (errno == EEXIST) return Error{kExists, text::cat(text::printable(name_), ": exists already")};
    return errno_error(text::cat("give ", text::printable(name_), " its name"), errno);
  }
  temp_name_.clear();
  if (sync) {
    if (auto synced = sync_fd(directory_.get()); !synced) return synced.error();
  }
  struct flock lock = alive_lock(F_UNLCK);
  ::fcntl(fd_.get(), F_OFD_SETLK, &lock);
  return std::move(fd_);
}

Result<void> TempFile::publish_replacing() && {
  VBD_TRY(sync_fd(fd_.get()));
  if (calls().renameat2(directory_.get(), temp_name_.c_str(), directory_.get(), name_.c_str(), 0) != 0)
    return errno_error(text::cat("replace ", text::printable(name_)), errno);
  temp_name_.clear();
  return sync_fd(directory_.get());
}

Result<std::vector<std::string>> stale_temp_files(int directory) {
  Result<std::vector<std::string>> names = list_dir(directory);
  if (!names) return names;
  std::erase_if(*names,
                [&](const std::string &name) { return !is_temp_name(name) || !is_stale(directory, name); });
  return names;
}

}  // namespace vbd::sys
