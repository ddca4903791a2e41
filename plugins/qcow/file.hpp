// SPDX-License-Identifier: MIT
// The image's vbd_file with exact reads and writes. Never opens anything. As thread-safe as the vbd_file is.
#pragma once

#include <cstdint>

#include <vbdkit/plugin.hpp>

namespace vbdkit::qcow {

using Status = int32_t;  ///< VBD_OK or VBD_E_*; what failed is in the vbd_error

/// VBD_E_CORRUPT with its reason code.
__attribute__((format(printf, 3, 4))) Status corrupt(vbd_error *err, const char *reason, const char *format,
                                                     ...) noexcept;

/// For printf's %llu.
[[nodiscard]] constexpr unsigned long long ull(uint64_t value) noexcept {
  return value;
}

class File {
 public:
  explicit File(const vbd_file *file = nullptr) noexcept : file_(file) {}

  [[nodiscard]] bool read_only() const noexcept { return (file_->flags & VBD_FILE_READONLY) != 0; }
  [[nodiscard]] Status size(uint64_t *bytes, vbd_error *err) const noexcept;
  /// Exactly `length` bytes; a file that ends earlier is `reason`.
  [[nodiscard]] Status read(void *to, uint64_t length, uint64_t offset, const char *reason,
                            vbd_error *err) const noexcept;
  /// Up to `length` bytes, the rest zeroed: for the last, partly written cluster of a file.
  [[nodiscard]] Status read_padded(void *to, uint64_t length, uint64_t offset, vbd_error *err) const noexcept;
  [[nodiscard]] Status write(const void *from, uint64_t length, uint64_t offset,
                             vbd_error *err) const noexcept;
  /// Makes a range of the file read as zeros: punched where possible, else written.
  [[nodiscard]] Status zero(uint64_t offset, uint64_t length, vbd_error *err) const noexcept;
  [[nodiscard]] Status write_zeros(uint64_t offset, uint64_t length, vbd_error *err) const noexcept;
  /// Gives the space of a range that nobody reads any more back, if that can be done.
  void punch(uint64_t offset, uint64_t length) const noexcept { file_->punch(file_->ctx, offset, length); }
  [[nodiscard]] Status truncate(uint64_t bytes, vbd_error *err) const noexcept;
  /// VBD_E_NOTSUP where the filesystem can't.
  [[nodiscard]] Status allocate(uint64_t offset, uint64_t length, vbd_error *err) const noexcept;
  [[nodiscard]] Status sync(vbd_error *err) const noexcept;
  /// True when the whole range is known to be a hole of the file. Errors mean "not known".
  [[nodiscard]] bool is_hole(uint64_t offset, uint64_t length) const noexcept;

 private:
  const vbd_file *file_;
};

}  // namespace vbdkit::qcow
