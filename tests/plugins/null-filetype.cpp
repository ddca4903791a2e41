// SPDX-License-Identifier: MIT
// FT_NULL: the smallest filetype, in C++ with plugin.hpp. An image is a file of the virtual size that always
// reads as zeros. Copy it to begin a filetype.
#include <cstring>
#include <vbdkit/plugin.hpp>

VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=filetype\0constant=FT_NULL\0name=null-filetype\0version=1.0\0"
    "summary=reads as zeros\0ops=info,create,image.open,image.close,image.geometry,image.map,image.read\0");

namespace {

struct Image {
  uint64_t bytes;
};

int32_t size_of(const vbd_file *file, uint64_t *bytes, vbd_error *err) noexcept {
  const int32_t error = file->get_size(file->ctx, bytes);
  return error == 0 ? VBD_OK : vbdkit::fail_errno(err, -error, "size");
}

int32_t create(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  if (const int32_t status = vbdkit::check_must(request, VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN, err))
    return status;
  if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  const int32_t error = request->file->truncate(request->file->ctx, request->bytes);
  return error == 0 ? VBD_OK : vbdkit::fail_errno(err, -error, "truncate");
}

int32_t info(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  uint64_t bytes = 0;
  if (const int32_t status = size_of(request->file, &bytes, err)) return status;
  vbdkit::Sink out(sink);
  out.number("virtual_size", bytes);
  return out.status();
}

int32_t open(void *, const vbd_request *request, void **image, vbd_error *err) noexcept {
  uint64_t bytes = 0;
  if (const int32_t status = size_of(request->file, &bytes, err)) return status;
  *image = new (std::nothrow) Image{bytes};
  return *image != nullptr ? VBD_OK : vbdkit::fail(err, VBD_E_INTERNAL, nullptr, ENOMEM, "out of memory");
}

int32_t close(void *image, vbd_error *) noexcept {
  delete static_cast<Image *>(image);
  return VBD_OK;
}

int32_t geometry(void *image, vbd_sink *sink, vbd_error *) noexcept {
  vbdkit::Sink out(sink);
  out.number("virtual_size", static_cast<Image *>(image)->bytes);
  out.number("unit", 512);
  return out.status();
}

bool beyond(void *image, uint64_t offset, uint64_t length) noexcept {
  const uint64_t bytes = static_cast<Image *>(image)->bytes;
  return offset > bytes || length > bytes - offset;
}

int32_t map(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
            vbd_error *err) noexcept {
  *n = 0;
  if (beyond(image, offset, length)) return vbdkit::fail(err, VBD_E_INVAL, nullptr, 0, "beyond the end");
  if (length == 0 || cap == 0) return VBD_OK;
  extents[0] = vbd_extent{offset, length, 0, VBD_EXTENT_HOLE, 0, 0};
  *n = 1;
  return VBD_OK;
}

int32_t read(void *image, void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  if (beyond(image, offset, length)) return vbdkit::fail(err, VBD_E_INVAL, nullptr, 0, "beyond the end");
  std::memset(buf, 0, length);
  return VBD_OK;
}

int32_t init(const vbd_host *, const vbd_kv *, uint32_t, void **self, vbd_error *) noexcept {
  *self = nullptr;
  return VBD_OK;
}

void fini(void *) noexcept {}

constexpr vbd_image_ops kImage{sizeof(vbd_image_ops),
                               VBD_IMAGE_PARALLEL_READ,
                               open,
                               close,
                               geometry,
                               map,
                               read,
                               nullptr,
                               nullptr,
                               nullptr,
                               nullptr,
                               nullptr};

vbd_filetype_ops filetype_ops() noexcept {
  vbd_filetype_ops ops{};
  ops.size = sizeof ops;
  ops.info = info;
  ops.create = create;
  ops.image = &kImage;
  return ops;
}
const vbd_filetype_ops kOps = filetype_ops();

constexpr vbd_plugin kPlugin{sizeof(vbd_plugin),
                             VBD_ABI_MAJOR,
                             VBD_ABI_MINOR,
                             VBD_KIND_FILETYPE,
                             0,
                             0,
                             "FT_NULL",
                             "null-filetype",
                             "1.0",
                             "MIT",
                             "reads as zeros",
                             "",
                             nullptr,
                             0,
                             0,
                             init,
                             fini,
                             nullptr,
                             &kOps,
                             nullptr};

}  // namespace

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
