// SPDX-License-Identifier: MIT
// A vbd_file over a descriptor: what the host hands to filetypes. Any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include <vbdkit/plugin.h>

#include "core/sys/fd.hpp"

namespace vbd::sys {

class HostFile {
 public:
  /// Borrows the descriptor, which must outlive this. `flags`: VBD_FILE_*.
  explicit HostFile(int fd, std::uint32_t flags = 0);
  HostFile(const HostFile &) = delete;
  [[nodiscard]] const vbd_file *file() const { return &file_; }

  struct Context {
    explicit Context(int descriptor) : fd(descriptor) {}
    const int fd;
    std::atomic<std::uint64_t> data_end{
        ~std::uint64_t{0}};  ///< where map() saw data end last: a guess for the next one
  };

 private:
  Context context_;
  vbd_file file_;
};

}  // namespace vbd::sys
