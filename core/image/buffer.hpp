// SPDX-License-Identifier: MIT
// Memory that is read into: at the beginning of a page, where the kernel copies more than twice as fast as to
// an odd address. One owner.
#pragma once

#include <cstddef>
#include <new>

namespace vbd::image {

class Buffer {
 public:
  Buffer() = default;
  /// May throw std::bad_alloc. What is in it is not known.
  explicit Buffer(std::size_t size) { hold(size); }
  ~Buffer() { ::operator delete (bytes_, std::align_val_t{kPage}); }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  /// Room for at least so many bytes; what was in it is lost. May throw std::bad_alloc.
  void hold(std::size_t size) {
    if (size <= size_) return;
    ::operator delete (bytes_, std::align_val_t{kPage});
    bytes_ = nullptr;
    size_ = 0;
    bytes_ = static_cast<unsigned char *>(::operator new (size, std::align_val_t{kPage}));
    size_ = size;
  }
  [[nodiscard]] unsigned char *data() { return bytes_; }
  [[nodiscard]] const unsigned char *data() const { return bytes_; }

 private:
  static constexpr std::size_t kPage = 4096;
  unsigned char *bytes_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace vbd::image
