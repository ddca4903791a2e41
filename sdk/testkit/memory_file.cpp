// SPDX-License-Identifier: MIT
#include "files.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace vbdkit::testkit {

const char *name_of(Call call) {
  static constexpr const char *kNames[kCalls] = {"read",     "write", "get_size", "truncate",
                                                 "allocate", "punch", "map",      "sync"};
  return kNames[static_cast<std::size_t>(call)];
}

struct MemoryFile::Functions {
  static MemoryFile &self(void *ctx) { return *static_cast<MemoryFile *>(ctx); }
  static bool read_only(const MemoryFile &file) { return (file.file_.flags & VBD_FILE_READONLY) != 0; }

  /// 0, or why the range can't be stored.
  static std::int32_t room(const MemoryFile &file, std::uint64_t offset, std::uint64_t length) {
    if (length > file.max_size_ || offset > file.max_size_ - length) return -EFBIG;
    // Near the limit only: a range that is stored already takes no new space.
    if (file.content_.allocated() + length <= file.max_space_) return 0;
    SparseBytes trial = file.content_;
    trial.allocate(offset, length);
    return trial.allocated() <= file.max_space_ ? 0 : -ENOSPC;
  }

  static std::int64_t read(void *ctx, void *to, std::uint64_t length, std::uint64_t offset) noexcept {
    const std::shared_lock lock(self(ctx).mutex_);
    return static_cast<std::int64_t>(self(ctx).content_.read(to, length, offset));
  }
  static std::int64_t write(void *ctx, const void *from, std::uint64_t length,
                            std::uint64_t offset) noexcept {
    MemoryFile &file = self(ctx);
    if (read_only(file)) return -EBADF;
    const std::unique_lock lock(file.mutex_);
    if (const std::int32_t error = room(file, offset, length); error != 0) return error;
    file.content_.write(from, length, offset);
    return static_cast<std::int64_t>(length);
  }
  static std::int32_t get_size(void *ctx, std::uint64_t *bytes) noexcept {
    const std::shared_lock lock(self(ctx).mutex_);
    *bytes = self(ctx).content_.size();
    return 0;
  }
  static std::int32_t truncate(void *ctx, std::uint64_t bytes) noexcept {
    MemoryFile &file = self(ctx);
    if (read_only(file)) return -EBADF;
    if (bytes > file.max_size_) return -EFBIG;
    const std::unique_lock lock(file.mutex_);
    file.content_.resize(bytes);
    return 0;
  }
  static std::int32_t allocate(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
    MemoryFile &file = self(ctx);
    if (read_only(file)) return -EBADF;
    if (file.simple_) return -EOPNOTSUPP;
    const std::unique_lock lock(file.mutex_);
    if (const std::int32_t error = room(file, offset, length); error != 0) return error;
    file.content_.allocate(offset, length);
    return 0;
  }
  static std::int32_t punch(void *ctx, std::uint64_t offset, std::uint64_t length) noexcept {
    MemoryFile &file = self(ctx);
    if (read_only(file)) return -EBADF;
    const std::unique_lock lock(file.mutex_);
    file.content_.punch(offset, length);
    return 0;
  }
  static std::int32_t map(void *ctx, std::uint64_t offset, std::uint64_t *length,
                          std::uint32_t *is_hole) noexcept {
    const MemoryFile &file = self(ctx);
    const std::shared_lock lock(file.mutex_);
    if (offset >= file.content_.size()) return -ENXIO;
    bool hole = false;
    *length = file.simple_ ? file.content_.size() - offset : file.content_.extent(offset, hole);
    *is_hole = hole ? 1 : 0;
    return 0;
  }
  static std::int32_t sync(void *) noexcept { return 0; }
};

MemoryFile::MemoryFile(SparseBytes start, std::uint32_t flags)
    : content_(std::move(start)),
      file_{sizeof(vbd_file),
            flags,
            this,
            Functions::read,
            Functions::write,
            Functions::get_size,
            Functions::truncate,
            Functions::allocate,
            Functions::punch,
            Functions::map,
            Functions::sync} {}

SparseBytes MemoryFile::content() const {
  const std::shared_lock lock(mutex_);
  return content_;
}

void MemoryFile::set_content(SparseBytes content) {
  const std::unique_lock lock(mutex_);
  content_ = std::move(content);
}

}  // namespace vbdkit::testkit
