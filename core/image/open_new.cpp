// SPDX-License-Identifier: MIT
// The writing side of an image that is being made.
#include <array>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/image_file.hpp"
#include "core/image/open.hpp"
#include "core/plugin/call.hpp"

namespace vbd::image {
namespace {
constexpr std::uint32_t kPlaces = 64;
}

template <class Function, class... Args>
Result<void> OpenImage::call(const char *what, std::uint32_t parallel, Function function, Args... args) {
  if (function == nullptr)
    return Error(plugin::kNoOperation, text::cat(constant(), " can't ", what, " the content of images"));
  plugin::ErrorBuffer error;
  bool thrown = false;
  const auto pass = this->pass(parallel);
  const std::int32_t status = plugin::call_out(thrown, function, image_, args..., error.get());
  if (!thrown && status == VBD_OK) return {};
  return plugin::status_error(thrown ? std::int32_t{VBD_E_INTERNAL} : status, error.read(), constant(),
                              text::cat(what, " ", text::printable(path_)));
}

Result<std::unique_ptr<OpenImage>> OpenImage::open_new(plugin::Plugin &plugin, sys::Fd fd,
                                                       const std::string &path,
                                                       const plugin::Values &params) {
  if (plugin.filetype()->image == nullptr || plugin.filetype()->image->write == nullptr) {
    return Error(plugin::kNoOperation,
                 text::cat(plugin.note().constant, " can't write the content of images"));
  }
  std::unique_ptr<OpenImage> image(new OpenImage(plugin, std::move(fd), VBD_FILE_NO_SYNC, path));
  VBD_TRY(image->start(VBD_MUST_EXCLUSIVE, params));
  return image;
}

Result<void> OpenImage::write(const void *from, std::uint64_t length, std::uint64_t offset) {
  return call("write", VBD_IMAGE_PARALLEL_WRITE, plugin_.filetype()->image->write, from, length, offset);
}

Result<void> OpenImage::zero(std::uint64_t offset, std::uint64_t length, std::uint32_t flags) {
  return call("zero", VBD_IMAGE_PARALLEL_WRITE, plugin_.filetype()->image->zero, offset, length, flags);
}

/// How many bytes of the range got a place.
Result<std::uint64_t> OpenImage::reserve_some(std::uint64_t offset, std::uint64_t length,
                                              std::vector<vbd_extent> &extents) {
  std::array<vbd_extent, kPlaces> some{};
  std::uint32_t n = 0;
  auto reserved = call("reserve", VBD_IMAGE_PARALLEL_WRITE, plugin_.filetype()->image->reserve, offset,
                       length, some.data(), kPlaces, &n);
  if (!reserved) return reserved.error();
  std::uint64_t at = offset;
  bool good = n >= 1 && n <= kPlaces;
  for (std::uint32_t i = 0; good && i < n; ++i) {
    const vbd_extent &extent = some[i];
    good = extent.offset == at && extent.length > 0 && extent.length <= offset + length - at &&
           extent.kind == VBD_EXTENT_DATA && extent.file == 0 && extent.host_offset <= kMaxImageSize &&
           extent.length <= kMaxImageSize - extent.host_offset;
    at += extent.length;
  }
  if (!good) {
    return Error(kBadExtent,
                 text::cat(text::printable(path_), ": ", constant(), " reserved places that are none"));
  }
  extents.insert(extents.end(), some.begin(), some.begin() + n);
  return at - offset;
}

Result<std::vector<vbd_extent>> OpenImage::reserve(std::uint64_t offset, std::uint64_t length) {
  const vbd_image_ops &ops = *plugin_.filetype()->image;
  std::vector<vbd_extent> extents;
  if (ops.reserve == nullptr || ops.commit == nullptr) return extents;
  for (std::uint64_t done = 0; done < length;) {
    const auto some = reserve_some(offset + done, length - done, extents);
    if (!some && done == 0 && some.error().exit() == Exit::refused) return extents;
    if (!some) return some.error();
    done += *some;
  }
  return extents;
}

Result<void> OpenImage::commit(std::uint64_t offset, std::uint64_t length) {
  return call("commit", VBD_IMAGE_PARALLEL_WRITE, plugin_.filetype()->image->commit, offset, length);
}

Result<void> OpenImage::flush() {
  return call("flush", 0, plugin_.filetype()->image->flush);
}

Result<void> OpenImage::close() {
  void *const image = std::exchange(image_, nullptr);
  plugin::ErrorBuffer error;
  bool thrown = false;
  const std::int32_t status = plugin::call_out(thrown, plugin_.filetype()->image->close, image, error.get());
  if (!thrown && status == VBD_OK) return {};
  return plugin::status_error(thrown ? std::int32_t{VBD_E_INTERNAL} : status, error.read(), constant(),
                              text::cat("close ", text::printable(path_)));
}

}  // namespace vbd::image
