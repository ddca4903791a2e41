// SPDX-License-Identifier: MIT
// The guest-visible bytes of an open image as a vbd_file, for a filetype whose image refers to it. Any
// thread.
#pragma once

#include <vbdkit/plugin.h>

namespace vbd::image {

class OpenImage;

class ImageFile {
 public:
  /// `image` must outlive this.
  explicit ImageFile(const OpenImage &image);
  ImageFile(const ImageFile &) = delete;
  [[nodiscard]] const vbd_file *file() const { return &file_; }

 private:
  struct Functions;
  const OpenImage &image_;
  vbd_file file_{};
};

}  // namespace vbd::image
