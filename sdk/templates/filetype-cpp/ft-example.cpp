// SPDX-License-Identifier: MIT
// FT_EXAMPLE: a filetype in C++ with an image table. The format: a header of 4096 bytes, "IMAGE-1\0" and the
// virtual size as 8 bytes little endian, then the guest's bytes in order. The size never changes, so that
// nothing can tear.
#include <algorithm>
#include <array>
#include <cstring>

#include <vbdkit/plugin.hpp>

VBD_PLUGIN_NOTE(
    "abi=1.0\0"
    "min_host_minor=0\0"
    "kind=filetype\0"
    "constant=FT_EXAMPLE\0"
    "name=example\0"
    "version=0.1\0"
    "summary=images with a header of 4096 bytes\0"
    "ops=probe,info,create,check,image.open,image.close,image.geometry,image.map,image.read,image.write,"
    "image.zero,"
    "image.flush\0");

namespace {

using vbdkit::fail;
using vbdkit::fail_errno;

constexpr uint64_t kHeader = 4096;
constexpr char kMagic[8] = "IMAGE-1";
constexpr uint32_t kReads = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE;

/// Reads and checks the header: never trust a number of a file.
int32_t read_header(const vbd_file *file, uint64_t &bytes, vbd_error *err) noexcept {
  std::array<unsigned char, 16> raw{};
  const int32_t status = vbdkit::read_exactly(file, raw.data(), raw.size(), 0, "example.short", err);
  if (status != VBD_OK) return status;
  if (std::memcmp(raw.data(), kMagic, sizeof kMagic) != 0) {
    return fail(err, VBD_E_CORRUPT, "example.magic", 0, "the file does not begin like an example image");
  }
  bytes = 0;
  for (std::size_t i = 16; i > 8; --i) bytes = bytes << 8 | raw[i - 1];
  uint64_t file_bytes = 0;
  if (const int32_t error = file->get_size(file->ctx, &file_bytes); error != 0)
    return fail_errno(err, -error, "size");
  if (bytes == 0 || bytes % 512 != 0 || file_bytes < kHeader || bytes > file_bytes - kHeader) {
    return fail(err, VBD_E_CORRUPT, "example.size", 0, "the virtual size does not fit the file");
  }
  return VBD_OK;
}

int32_t probe(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  if (const int32_t status = vbdkit::check_must(request, kReads, err); status != VBD_OK) return status;
  char magic[8] = "";
  const int64_t n = request->file->read(request->file->ctx, magic, sizeof magic, 0);
  if (n < 0) return fail_errno(err, static_cast<int>(-n), "read");
  vbdkit::Sink out(sink);
  out.number("match", std::memcmp(magic, kMagic, sizeof magic) == 0 ? 100 : 0);
  return out.status();
}

int32_t info(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  uint64_t bytes = 0;
  int32_t status = vbdkit::check_must(request, kReads, err);
  if (status == VBD_OK) status = read_header(request->file, bytes, err);
  if (status != VBD_OK) return status;
  vbdkit::Sink out(sink);
  out.number("virtual_size", bytes);
  return out.status();
}

int32_t create(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  const int32_t status = vbdkit::check_must(request, VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN, err);
  if (status != VBD_OK || (request->must & VBD_MUST_DRY_RUN) != 0) return status;
  if (request->bytes > 0x7fffffffffffffffu - kHeader)
    return fail(err, VBD_E_INVAL, "example.size", 0, "too large");
  const vbd_file *file = request->file;
  if (const int32_t error = file->truncate(file->ctx, kHeader + request->bytes); error != 0) {
    return fail_errno(err, -error, "setting the size of the file");
  }
  std::array<unsigned char, 16> raw{};
  std::memcpy(raw.data(), kMagic, sizeof kMagic);
  for (unsigned i = 0; i < 8; ++i) raw[8 + i] = static_cast<unsigned char>(request->bytes >> (8 * i));
  return vbdkit::write_all(file, raw.data(), raw.size(), 0, err);
}

int32_t check(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  uint64_t bytes = 0;
  int32_t status = vbdkit::check_must(request, kReads | VBD_MUST_DRY_RUN, err);
  if (status == VBD_OK) status = read_header(request->file, bytes, err);
  if (status != VBD_OK && status != VBD_E_CORRUPT) return status;
  vbdkit::Sink out(sink);
  out.number("leaks", 0);
  out.number("errors", status == VBD_OK ? 0 : 1);
  if (status != VBD_OK) out.text("finding.0", err->msg);
  return out.status() != VBD_OK ? out.status() : status;
}

struct Image {
  const vbd_file *file;
  uint64_t size;
  bool read_only;
};
const Image &of(void *image) noexcept {
  return *static_cast<const Image *>(image);
}

int32_t in_range(const Image &image, uint64_t offset, uint64_t length, bool writes, vbd_error *err) noexcept {
  if (writes && image.read_only)
    return fail(err, VBD_E_PERM, "example.read_only", 0, "the image is open for reading");
  if (offset <= image.size && length <= image.size - offset) return VBD_OK;
  return fail(err, VBD_E_INVAL, "example.range", 0, "the range lies beyond the end");
}

int32_t open(void *, const vbd_request *request, void **image, vbd_error *err) noexcept {
  uint64_t size = 0;
  int32_t status = vbdkit::check_must(request, kReads, err);
  if (status == VBD_OK) status = read_header(request->file, size, err);
  if (status != VBD_OK) return status;
  const bool read_only =
      (request->must & VBD_MUST_READONLY) != 0 || (request->file->flags & VBD_FILE_READONLY) != 0;
  *image = new (std::nothrow) Image{request->file, size, read_only};
  return *image != nullptr ? VBD_OK : fail(err, VBD_E_INTERNAL, nullptr, ENOMEM, "out of memory");
}

int32_t close(void *image, vbd_error *) noexcept {
  delete static_cast<Image *>(image);
  return VBD_OK;
}

int32_t geometry(void *image, vbd_sink *sink, vbd_error *) noexcept {
  vbdkit::Sink out(sink);
  out.number("virtual_size", of(image).size);
  out.number("unit", 4096);
  return out.status();
}

int32_t map(void *image, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
            vbd_error *err) noexcept {
  *n = 0;
  if (const int32_t status = in_range(of(image), offset, length, false, err); status != VBD_OK) return status;
  const vbd_file *file = of(image).file;
  for (const uint64_t end = offset + length; offset < end && *n < cap; ++*n) {
    uint64_t alike = 0;
    uint32_t hole = 0;
    const int32_t error = file->map(file->ctx, kHeader + offset, &alike, &hole);
    if (error != 0) return fail_errno(err, -error, "looking for holes");
    alike = std::min(alike, end - offset);
    const uint32_t kind = hole != 0 ? VBD_EXTENT_HOLE : VBD_EXTENT_DATA;
    extents[*n] = {offset, alike, hole != 0 ? 0 : kHeader + offset, kind, 0, 0};
    offset += alike;
  }
  return VBD_OK;
}

int32_t read(void *image, void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  if (const int32_t status = in_range(of(image), offset, length, false, err); status != VBD_OK) return status;
  return vbdkit::read_exactly(of(image).file, buf, length, kHeader + offset, "example.short", err);
}

int32_t write(void *image, const void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  if (const int32_t status = in_range(of(image), offset, length, true, err); status != VBD_OK) return status;
  return vbdkit::write_all(of(image).file, buf, length, kHeader + offset, err);
}

int32_t zero(void *image, uint64_t offset, uint64_t length, uint32_t flags, vbd_error *err) noexcept {
  if (const int32_t status = in_range(of(image), offset, length, true, err); status != VBD_OK) return status;
  const vbd_file *file = of(image).file;
  int32_t error = file->punch(file->ctx, kHeader + offset, length);
  if (error == 0 && (flags & VBD_ZERO_KEEP_SPACE) != 0)
    error = file->allocate(file->ctx, kHeader + offset, length);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "zeroing");
}

int32_t flush(void *image, vbd_error *err) noexcept {
  const int32_t error = of(image).read_only ? 0 : of(image).file->sync(of(image).file->ctx);
  return error == 0 ? VBD_OK : fail_errno(err, -error, "sync");
}

const vbd_image_ops kImageOps = {
    sizeof(vbd_image_ops),
    VBD_IMAGE_PARALLEL_READ | VBD_IMAGE_PARALLEL_WRITE,
    open,
    close,
    geometry,
    map,
    read,
    write,
    zero,
    flush,
    nullptr,
    nullptr,
};

int32_t init(const vbd_host *, const vbd_kv *, uint32_t, void **self, vbd_error *) noexcept {
  *self = nullptr;
  return VBD_OK;
}
void fini(void *) noexcept {}

const vbd_filetype_ops kOps = {
    sizeof(vbd_filetype_ops), 0, probe, info, create, nullptr, check, nullptr, nullptr, &kImageOps,
};

const vbd_plugin kPlugin = {
    sizeof(vbd_plugin),
    VBD_ABI_MAJOR,
    VBD_ABI_MINOR,
    VBD_KIND_FILETYPE,
    0,
    0,
    "FT_EXAMPLE",
    "example",
    "0.1",
    "MIT",
    "images with a header of 4096 bytes",
    "",
    nullptr,
    0,
    0,
    init,
    fini,
    nullptr,
    &kOps,
    nullptr,
};

}  // namespace

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
