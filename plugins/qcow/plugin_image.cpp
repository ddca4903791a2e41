// SPDX-License-Identifier: MIT
// The image table: each callback is guarded and goes to the open image.
#include "plugin.hpp"

#include <memory>

#include "image.hpp"

namespace vbdkit::qcow {
namespace {

Image &of(void *image) {
  return *static_cast<Image *>(image);
}

int32_t on_open(void *, const vbd_request *request, void **out, vbd_error *err) noexcept {
  return guarded(err, [&] {
    if (const Status s = check_must(request, VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE, err); s != VBD_OK)
      return s;
    std::unique_ptr<Image> image;
    if (const Status s = Image::open(request, &image, err); s != VBD_OK) return s;
    *out = image.release();
    return Status{VBD_OK};
  });
}

int32_t on_close(void *image, vbd_error *err) noexcept {
  const std::unique_ptr<Image> owned(&of(image));
  return guarded(err, [&] { return owned->close(err); });
}

int32_t on_geometry(void *image, vbd_sink *sink, vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).geometry(sink, err); });
}

int32_t on_map(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
               vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).map(offset, length, {extents, cap}, n, err); });
}

int32_t on_read(void *image, void *to, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).read(to, length, offset, err); });
}

int32_t on_write(void *image, const void *from, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).write(from, length, offset, err); });
}

int32_t on_zero(void *image, uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).zero(offset, length, flags, err); });
}

int32_t on_flush(void *image, vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).flush(err); });
}

int32_t on_reserve(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap,
                   uint32_t *n, vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).reserve(offset, length, {extents, cap}, n, err); });
}

int32_t on_commit(void *image, uint64_t offset, uint64_t length, vbd_error *err) noexcept {
  return guarded(err, [&] { return of(image).commit(offset, length, err); });
}

}  // namespace

const vbd_image_ops kImage = {sizeof(vbd_image_ops),
                              VBD_IMAGE_PARALLEL_READ | VBD_IMAGE_PARALLEL_WRITE,
                              on_open,
                              on_close,
                              on_geometry,
                              on_map,
                              on_read,
                              on_write,
                              on_zero,
                              on_flush,
                              on_reserve,
                              on_commit};

}  // namespace vbdkit::qcow
