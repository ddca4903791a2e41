// SPDX-License-Identifier: MIT
// The two locks of docs/safety.md. Both are open-file-description locks: they go with the last
// descriptor of that open, so a killed process never leaves one. Not thread-safe per object.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {

/// The operation lock: a write lock on ".vbdkit.lock" in an image's directory, a file that is made when
/// missing and never renamed or removed.
class OperationLock {
 public:
  static constexpr std::string_view kFileName = ".vbdkit.lock";
  /// Waits up to `patience`; then kLocked, naming the holder's process where it can be seen.
  [[nodiscard]] static Result<OperationLock> acquire(int directory, const std::string &directory_path,
                                                     std::chrono::milliseconds patience);
  /// For a process that is to keep the lock after this object: RunSpec::held.
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit OperationLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

/// QEMU's bytes on the image itself (block/file-posix.c: byte 100+i held = uses permission i, 200+i held =
/// does not share i; i: 0 consistent read, 1 write, 2 write unchanged, 3 resize). Only read locks are taken,
/// so a read-only descriptor is enough.
enum class ImageLockMode {
  inspect,   ///< uses consistent read, shares all: beside a running guest
  stable,    ///< uses consistent read, nobody may write or resize
  exclusive  ///< uses read, write and resize, shares nothing
};
/// Locks live in the open file description of `fd`, not in this process's object: a duplicate keeps them.
/// kInUse names the holder's processes where they can be seen. Retries with jitter for as long as `patience`,
/// for two starters can each see the other; with none where whoever holds the image is as good an answer.
inline constexpr std::chrono::milliseconds kImagePatience{1000};
[[nodiscard]] Result<void> lock_image(int fd, ImageLockMode mode, const std::string &path,
                                      std::chrono::milliseconds patience = kImagePatience);
[[nodiscard]] Result<void> unlock_image(int fd);
/// True when another open file description holds a lock that `mode` conflicts with; takes nothing.
[[nodiscard]] Result<bool> image_lock_conflicts(int fd, ImageLockMode mode);
/// True when process `pid` holds that file against other writers, as `mode` does (from /proc/PID/fdinfo):
/// unshares write and, for exclusive, uses it too.
[[nodiscard]] Result<bool> process_locks_image(std::int64_t pid, const FileId &file,
                                               ImageLockMode mode = ImageLockMode::exclusive);

}  // namespace vbd::sys
