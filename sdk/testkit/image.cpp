// SPDX-License-Identifier: MIT
#include <cstdio>

#include "plugin.hpp"

namespace vbdkit::testkit {
namespace {

/// A failure that the kit found, in the place where a plugin's would be.
std::int32_t broken(ErrorBox &box, const char *what) {
  vbd_error *error = box.get();
  error->reason = "testkit.contract";
  std::snprintf(error->msg, error->msg_cap, "%s", what);
  return VBD_E_INTERNAL;
}

}  // namespace

std::int32_t Image::open(const vbd_file *file, std::uint32_t must, const Pairs &params) {
  if (const std::int32_t status = close(); status != VBD_OK) return status;
  Request request(file, 0, must);
  request.params(params);
  std::int32_t status = ops()->open(filetype_.self, request.get(), &image_, error_.get());
  if (status != VBD_OK) {
    image_ = nullptr;
    return status;
  }
  Results results;
  status = geometry(results);
  if (status != VBD_OK) return status;
  virtual_size_ = results.number("virtual_size");
  unit_ = results.number("unit");
  if (unit_ == 0 || (unit_ & (unit_ - 1)) != 0) return broken(error_, "geometry: unit is not a power of two");
  return VBD_OK;
}

std::int32_t Image::close() {
  if (image_ == nullptr) return VBD_OK;
  void *const image = image_;
  image_ = nullptr;
  return ops()->close(image, error_.get());
}

std::int32_t Image::geometry(Results &results) {
  return ops()->geometry(image_, results.sink(), error_.get());
}

std::int32_t Image::extents(MapCall call, std::uint64_t offset, std::uint64_t length,
                            std::vector<vbd_extent> &list) {
  const std::uint64_t end = offset + length;
  list.clear();
  while (offset < end) {
    vbd_extent some[16] = {};
    std::uint32_t n = 0;
    const std::int32_t status = call(image_, offset, end - offset, some, 16, &n, error_.get());
    if (status != VBD_OK) return status;
    if (n == 0 || n > 16) return broken(error_, "no extents, or more than there is room for");
    for (std::uint32_t i = 0; i < n; ++i) {
      const vbd_extent &extent = some[i];
      if (extent.offset != offset) return broken(error_, "extents leave a gap or overlap");
      if (extent.length == 0 || extent.length > end - offset)
        return broken(error_, "extent empty or too long");
      if (extent.kind < VBD_EXTENT_HOLE || extent.kind > VBD_EXTENT_REFERENCE || extent.reserved != 0) {
        return broken(error_, "extent of unknown kind, or reserved not 0");
      }
      offset += extent.length;
      list.push_back(extent);
    }
  }
  return VBD_OK;
}

std::int32_t Image::map(std::uint64_t offset, std::uint64_t length, std::vector<vbd_extent> &list) {
  return extents(ops()->map, offset, length, list);
}

std::int32_t Image::reserve(std::uint64_t offset, std::uint64_t length, std::vector<vbd_extent> &list) {
  const std::int32_t status = extents(ops()->reserve, offset, length, list);
  if (status != VBD_OK) return status;
  for (const vbd_extent &extent : list) {
    if (extent.kind != VBD_EXTENT_DATA || extent.file != 0) {
      return broken(error_, "reserve must give data extents of the image file");
    }
  }
  return VBD_OK;
}

std::int32_t Image::read(void *to, std::uint64_t length, std::uint64_t offset) {
  return ops()->read(image_, to, length, offset, error_.get());
}

std::int32_t Image::write(const void *from, std::uint64_t length, std::uint64_t offset) {
  return ops()->write(image_, from, length, offset, error_.get());
}

std::int32_t Image::zero(std::uint64_t offset, std::uint64_t length, std::uint32_t flags) {
  return ops()->zero(image_, offset, length, flags, error_.get());
}

std::int32_t Image::flush() {
  return ops()->flush(image_, error_.get());
}

std::int32_t Image::commit(std::uint64_t offset, std::uint64_t length) {
  return ops()->commit(image_, offset, length, error_.get());
}

}  // namespace vbdkit::testkit
