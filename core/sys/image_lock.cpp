// SPDX-License-Identifier: MIT
// QEMU's protocol (block/file-posix.c, raw_check_lock_bytes and raw_apply_lock_bytes): every lock is a read
// lock of one byte, so holders never block each other; a conflict is found by asking whether a write lock of
// the opposite byte would be refused. Bits 4 (104, 204: graph modification, QEMU before 6.2) stay alone.
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "core/base/text.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/proc.hpp"
#include "core/sys/usage.hpp"

namespace vbd::sys {
namespace {

constexpr off_t kUsesBase = 100, kUnsharesBase = 200;
constexpr std::array<const char *, 4> kPermissions{"consistent read", "write", "write unchanged", "resize"};
constexpr unsigned kRead = 1u << 0, kWrite = 1u << 1, kResize = 1u << 3, kAll = 15;

struct Bits {
  unsigned uses, unshares;
};

Bits bits_of(ImageLockMode mode) {
  switch (mode) {
    case ImageLockMode::inspect:
      return {kRead, 0};
    case ImageLockMode::stable:
      return {kRead, kWrite | kResize};
    case ImageLockMode::exclusive:
      break;
  }
  return {kRead | kWrite | kResize, kAll};
}

struct flock byte_lock(short type, off_t byte) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

Error lock_error(const std::string &path, int error_number) {
  return errno_error(text::cat("lock ", text::printable(path)), error_number);
}

/// Errno, or 0.
int set_bits(int fd, short type, Bits bits) {
  for (unsigned i = 0; i < kPermissions.size(); ++i) {
    for (const auto &[wanted, base] :
         {std::pair{bits.uses, kUsesBase}, std::pair{bits.unshares, kUnsharesBase}}) {
      if ((wanted & (1u << i)) == 0) continue;
      struct flock lock = byte_lock(type, base + static_cast<off_t>(i));
      while (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno != EINTR) return errno;
      }
    }
  }
  return 0;
}

struct Conflict {
  int error_number = 0;
  off_t byte = 0;  ///< 0: none
};

/// Which byte of somebody else's stands against using and not sharing these.
Conflict find_conflict(int fd, Bits bits) {
  for (unsigned i = 0; i < kPermissions.size(); ++i) {
    for (const auto &[wanted, base] :
         {std::pair{bits.uses, kUnsharesBase}, std::pair{bits.unshares, kUsesBase}}) {
      if ((wanted & (1u << i)) == 0) continue;
      struct flock lock = byte_lock(F_WRLCK, base + static_cast<off_t>(i));
      if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) return {errno, 0};
      if (lock.l_type != F_UNLCK) return {0, base + static_cast<off_t>(i)};
    }
  }
  return {};
}

/// What this very open file description holds already: a change of mode must not lose it when refused.
Bits held_bits(int fd) {
  Bits held{0, 0};
  for (const HeldRange &range : held_ranges(::getpid(), text::cat(fd))) {
    for (unsigned i = 0; i < kPermissions.size(); ++i) {
      const auto has = [&](off_t base) {
        const auto byte = static_cast<std::uint64_t>(base) + i;
        return range.first <= byte && byte <= range.last ? 1u << i : 0u;
      };
      held.uses |= has(kUsesBase);
      held.unshares |= has(kUnsharesBase);
    }
  }
  return held;
}

Bits without(Bits bits, Bits other) {
  return {bits.uses & ~other.uses, bits.unshares & ~other.unshares};
}

Error conflict_error(int fd, off_t byte, const std::string &path) {
  std::string holder;
  if (const auto info = file_info(fd)) {
    auto pids = lock_holders(info->id, static_cast<std::uint64_t>(byte), static_cast<std::uint64_t>(byte));
    holder = describe_processes(pids);
    Usage loops;
    if (auto found = loops_of(info->id)) loops.loops = std::move(*found);
    if (loops.any()) holder += (holder.empty() ? "" : ", ") + loops.describe();
  }
  if (holder.empty()) holder = "another process, not visible from here,";
  const bool unshared = byte >= kUnsharesBase;
  const auto bit = static_cast<std::size_t>(byte - (unshared ? kUnsharesBase : kUsesBase));
  return {kInUse,
          text::cat(text::printable(path), ": in use: ", holder, unshared ? " does not share \"" : " uses \"",
                    kPermissions.at(bit), "\""),
          "stop what uses it, or detach the image, then try again"};
}

/// 10 to 60 ms, so that two starters that see each other do not stay in step.
void pause_with_jitter() {
  unsigned char random = 0;
  if (::getrandom(&random, 1, GRND_NONBLOCK) != 1) random = static_cast<unsigned char>(::getpid());
  std::this_thread::sleep_for(std::chrono::milliseconds(10 + random % 50));
}

}  // namespace

Result<void> lock_image(int fd, ImageLockMode mode, const std::string &path,
                        std::chrono::milliseconds patience) {
  const Bits wanted = bits_of(mode), held = held_bits(fd), added = without(wanted, held);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const int failed = set_bits(fd, F_RDLCK, added);
    const Conflict conflict = failed != 0 ? Conflict{failed, 0} : find_conflict(fd, wanted);
    if (conflict.error_number == 0 && conflict.byte == 0) break;
    set_bits(fd, F_UNLCK, added);
    if (conflict.error_number != 0) return lock_error(path, conflict.error_number);
    if (std::chrono::steady_clock::now() >= deadline) return conflict_error(fd, conflict.byte, path);
    pause_with_jitter();
  }
  const int failed = set_bits(fd, F_UNLCK, without(held, wanted));
  if (failed != 0) return lock_error(path, failed);
  return {};
}

Result<void> unlock_image(int fd) {
  const int failed = set_bits(fd, F_UNLCK, {kAll, kAll});
  if (failed != 0) return errno_error("unlock an image", failed);
  return {};
}

Result<bool> image_lock_conflicts(int fd, ImageLockMode mode) {
  const Conflict conflict = find_conflict(fd, bits_of(mode));
  if (conflict.error_number != 0) return errno_error("look for locks on an image", conflict.error_number);
  return conflict.byte != 0;
}

Result<bool> process_locks_image(std::int64_t pid, const FileId &file, ImageLockMode mode) {
  bool writes = false, unshares = false;
  const bool seen = visit_open_files(pid, [&](const OpenFile &open) {
    if (open.fd.empty() || FileId{open.device, open.inode} != file) return;
    for (const HeldRange &range : held_ranges(pid, open.fd)) {
      const auto has = [&](std::uint64_t byte) { return range.first <= byte && byte <= range.last; };
      writes = writes || has(kUsesBase + 1);
      unshares = unshares || has(kUnsharesBase + 1);
    }
  });
  if (!seen)
    return Error{kPermission, text::cat("process ", pid, ": its open files can't be seen"), "run it as root"};
  return unshares && (writes || mode != ImageLockMode::exclusive);
}

}  // namespace vbd::sys
