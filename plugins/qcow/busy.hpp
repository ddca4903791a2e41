// SPDX-License-Identifier: MIT
// Guest clusters that one mutation owns: others that touch one of them wait.
#pragma once

#include "image.hpp"

namespace vbdkit::qcow {

class Image::Busy {
 public:
  /// Owns the clusters of [begin, end) until it goes.
  Busy(Image &image, uint64_t begin, uint64_t end)
      : image_(image), first_(begin / image.cluster()), last_((end - 1) / image.cluster()) {
    std::unique_lock lock(image_.mutex_);
    image_.no_longer_busy_.wait(lock, [this] {
      for (const auto &[first, last] : image_.busy_) {
        if (first <= last_ && first_ <= last) return false;
      }
      return true;
    });
    image_.busy_.emplace_back(first_, last_);
  }
  ~Busy() {
    {
      const std::lock_guard lock(image_.mutex_);
      for (auto &one : image_.busy_) {
        if (one != std::pair(first_, last_)) continue;
        one = image_.busy_.back();
        image_.busy_.pop_back();
        break;
      }
    }
    image_.no_longer_busy_.notify_all();
  }
  Busy(const Busy &) = delete;
  Busy &operator=(const Busy &) = delete;

 private:
  Image &image_;
  uint64_t first_, last_;
};

}  // namespace vbdkit::qcow
