// SPDX-License-Identifier: MIT
#include "core/sys/name_lock.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <thread>

#include "core/base/text.hpp"
#include "core/sys/calls.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/spare.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBootDigits = 8;  // short, so that the text lies within the inode
constexpr std::size_t kMaxText = 1024;

const std::string &lock_name() {
  static const std::string kName(NameLock::kFileName);
  return kName;
}

/// BOOT:PID:START:NODE
struct NameOwner {
  std::string boot, node;
  std::int64_t pid = 0;
  std::uint64_t start = 0;
};

template <class T>
bool parse_count(const std::string &text, T &number) {
  const char *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  return error == std::errc{} && stop == end;
}

std::optional<NameOwner> parse_owner(const std::string &text) {
  NameOwner owner;
  std::size_t at = 0;
  std::array<std::string, 3> words;
  for (std::string &word : words) {
    const std::size_t colon = text.find(':', at);
    if (colon == std::string::npos) return std::nullopt;
    word = text.substr(at, colon - at);
    at = colon + 1;
  }
  owner.boot = words[0];
  owner.node = text.substr(at);
  if (!parse_count(words[1], owner.pid) || !parse_count(words[2], owner.start) || owner.node.empty())
    return std::nullopt;
  return owner;
}

Result<std::string> own_text(const std::string &node) {
  VBD_TRY_ASSIGN(auto boot, boot_id());
  const auto pid = static_cast<std::int64_t>(::getpid());
  const auto start = process_start_time(pid);
  return text::cat(boot.substr(0, kBootDigits), ":", pid, ":", start.value_or(0), ":", node);
}

/// Nothing when there is no such name; "" of something that is not ours.
std::optional<std::string> read_owner_text(int directory) {
  std::array<char, kMaxText> buffer{};
  const ssize_t got = ::readlinkat(directory, lock_name().c_str(), buffer.data(), buffer.size());
  if (got >= 0) return std::string(buffer.data(), static_cast<std::size_t>(got));
  if (errno == ENOENT) return std::nullopt;
  auto file = read_file_at(directory, lock_name(), kMaxText);
  if (file) return *file;
  return file.error().is(kNotFound) ? std::nullopt : std::optional<std::string>(std::string());
}

/// A short symbolic link lies in its inode, and these have made their inodes beforehand; others, as xfs, want
/// free blocks for each new file.
bool names_need_room(int directory) {
  struct statfs fs {};
  if (::fstatfs(directory, &fs) != 0) return true;
  return fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != TMPFS_MAGIC;
}

/// The caller holds the operation lock: of this node nobody else writes into it.
Result<bool> link_spare(int directory, const std::string &text, const std::string &node, const Error &why) {
  const std::string name = lock_spare_name(node);
  const Fd fd(::openat(directory, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) return why;
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != ::geteuid()) return why;
  if (::pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
      ::ftruncate(fd.get(), static_cast<off_t>(text.size())) != 0 || !sync_fd(fd.get()))
    return why;
  if (calls().linkat(directory, name.c_str(), directory, lock_name().c_str(), 0) == 0) return true;
  return errno == EEXIST ? Result<bool>(false) : Result<bool>(why);
}

/// True when the name is ours now; false when it was there.
Result<bool> make_name(int directory, const std::string &text, const std::string &node) {
  const auto failed = [] { return errno_error(text::cat("make ", NameLock::kFileName), errno); };
  if (::symlinkat(text.c_str(), directory, lock_name().c_str()) == 0) return true;
  if (errno == EEXIST) return false;
  if (errno == ENOSPC || errno == EDQUOT) return link_spare(directory, text, node, failed());
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return failed();
  const Fd fd(
      ::openat(directory, lock_name().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd && errno == EEXIST) return false;
  if (!fd) return failed();
  if (::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) return true;
  const Error error = failed();
  calls().unlinkat(directory, lock_name().c_str(), 0);
  return error;
}

/// Of this node, from an earlier boot or of a process that is gone.
bool is_left(const std::string &text, const std::string &own) {
  const auto owner = parse_owner(text), me = parse_owner(own);
  if (!owner || !me || owner->node != me->node) return false;
  return owner->boot != me->boot || process_start_time(owner->pid) != owner->start;
}

Error name_held_error(const std::string &directory_path, const std::string &text) {
  const auto owner = parse_owner(text);
  return {kLocked,
          text::cat(text::printable(directory_path), "/", NameLock::kFileName, ": ",
                    owner ? text::cat("node ", text::printable(owner->node), " (process ", owner->pid, ")")
                          : std::string("somebody"),
                    " is writing the lease of an image here"),
          text::cat("try again; when that node is dead: vbd lease break ", text::printable(directory_path))};
}

}  // namespace

Result<NameLock> NameLock::acquire(int directory, const std::string &directory_path, const std::string &node,
                                   std::chrono::milliseconds patience) {
  VBD_TRY_ASSIGN(auto own, own_text(node));
  VBD_TRY_ASSIGN(auto kept, duplicate(directory));
  const Clock::time_point deadline = Clock::now() + patience;
  std::chrono::milliseconds pause{5};
  for (;;) {
    auto made = make_name(directory, own, node);
    if (!made) return made.error().at(text::printable(directory_path));
    if (*made) return NameLock(std::move(kept), own);
    const auto there = read_owner_text(directory);
    if (there == own) return NameLock(std::move(kept), own);  // a server that was asked twice
    if (there && is_left(*there, own)) {
      calls().unlinkat(directory, lock_name().c_str(), 0);
      continue;
    }
    if (Clock::now() >= deadline) return name_held_error(directory_path, there.value_or(std::string()));
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds{100});
  }
}

NameLock::NameLock(NameLock &&other) noexcept
    : directory_(std::move(other.directory_)), text_(std::exchange(other.text_, {})) {}

NameLock::~NameLock() {
  if (directory_ && !text_.empty() && held()) calls().unlinkat(directory_.get(), lock_name().c_str(), 0);
}

Result<void> NameLock::keep_spare(const std::string &node) const {
  const std::string name = lock_spare_name(node);
  const int at = directory_.get();
  struct stat st {};
  if (!names_need_room(at) || name.find('/') != std::string::npos) return {};
  if (::fstatat(at, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0) return {};
  const Fd fd(::openat(at, name.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  const auto failed = [&] { return errno_error(text::cat("make ", text::printable(name)), errno); };
  if (!fd) return failed();
  const std::string room(kMaxText, '.');
  const ssize_t put = ::write(fd.get(), room.data(), room.size());
  auto made = put == static_cast<ssize_t>(room.size()) ? sync_fd(fd.get()) : Result<void>(failed());
  if (!made) (void)calls().unlinkat(at, name.c_str(), 0);
  return made;
}

bool NameLock::seen_in(int directory) const {
  return read_owner_text(directory) == text_;
}

std::optional<std::string> name_lock_owner(int directory) {
  const auto text = read_owner_text(directory);
  if (!text) return std::nullopt;
  const auto owner = parse_owner(*text);
  return owner ? owner->node : std::string();
}

Result<void> break_name_lock(int directory) {
  return unlink_at(directory, lock_name());
}

}  // namespace vbd::sys
