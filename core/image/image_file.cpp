// SPDX-License-Identifier: MIT
#include "core/image/image_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "core/image/open.hpp"

namespace vbd::image {

struct ImageFile::Functions {
  static ImageFile &of(void *ctx) { return *static_cast<ImageFile *>(ctx); }

  /// The body of one call; nothing may be thrown at the filetype.
  template <class Body>
  static std::int64_t call(void *ctx, Body &&body) noexcept {
    try {
      return body(of(ctx).image_);
    } catch (...) {
      return -ENOMEM;
    }
  }

  static std::int64_t read(void *ctx, void *buf, std::uint64_t len, std::uint64_t off) noexcept {
    return call(ctx, [&](const OpenImage &image) -> std::int64_t {
      if (off >= image.size()) return 0;
      const std::uint64_t length = std::min({len, image.size() - off, std::uint64_t{1} << 30});
      return image.read(buf, length, off) ? static_cast<std::int64_t>(length) : -EIO;
    });
  }
  static std::int32_t get_size(void *ctx, std::uint64_t *bytes) noexcept {
    *bytes = of(ctx).image_.size();
    return 0;
  }
  static std::int32_t map(void *ctx, std::uint64_t off, std::uint64_t *len, std::uint32_t *is_hole) noexcept {
    return static_cast<std::int32_t>(call(ctx, [&](const OpenImage &image) -> std::int64_t {
      if (off >= image.size()) return -ENXIO;
      const auto extents = image.map(off, image.size() - off);
      if (!extents) return -EIO;
      const vbd_extent &first = extents->front();
      *len = first.length;
      *is_hole = first.kind == VBD_EXTENT_HOLE || first.kind == VBD_EXTENT_ZERO ? 1 : 0;
      return 0;
    }));
  }
  static std::int64_t write(void *, const void *, std::uint64_t, std::uint64_t) noexcept { return -EROFS; }
  static std::int32_t truncate(void *, std::uint64_t) noexcept { return -EROFS; }
  static std::int32_t change(void *, std::uint64_t, std::uint64_t) noexcept { return -EROFS; }
  static std::int32_t sync(void *) noexcept { return 0; }
};

ImageFile::ImageFile(const OpenImage &image) : image_(image) {
  file_.size = sizeof file_;
  file_.flags = VBD_FILE_READONLY;
  file_.ctx = this;
  file_.read = Functions::read;
  file_.write = Functions::write;
  file_.get_size = Functions::get_size;
  file_.truncate = Functions::truncate;
  file_.allocate = Functions::change;
  file_.punch = Functions::change;
  file_.map = Functions::map;
  file_.sync = Functions::sync;
}

}  // namespace vbd::image
