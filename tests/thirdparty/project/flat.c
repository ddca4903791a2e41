/* SPDX-License-Identifier: MIT
 *
 * A third party's filetype in plain C: flat, guest bytes are file bytes, so every driver that needs flat=1
 * takes it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vbdkit/plugin.h>

VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=filetype\0constant=" CONSTANT
    "\0name=thirdparty-flat\0version=0.1\0"
    "summary=the guest's bytes as they are\0prop.flat=1\0"
    "ops=probe,info,create,resize,image.open,image.close,image.geometry,image.map,image.read,image.write,"
    "image.zero,image.flush\0");

struct image {
  const struct vbd_file *file;
  uint64_t bytes;
};

static int32_t fail(struct vbd_error *err, int32_t status, int error, const char *what) {
  err->sys_errno = error;
  snprintf(err->msg, err->msg_cap, "%s%s%s", what, error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
  return status;
}

static int32_t failed(struct vbd_error *err, int64_t negative, const char *what) {
  return fail(err, negative == -ENOSPC ? VBD_E_NOSPC : VBD_E_IO, (int)-negative, what);
}

static int32_t probe(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                     struct vbd_error *err) VBD_NOEXCEPT {
  (void)self, (void)request, (void)err;
  return sink->put_u64(sink->ctx, "match", 1); /* any file is flat: the least that is not nothing */
}

static int32_t info(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                    struct vbd_error *err) VBD_NOEXCEPT {
  uint64_t bytes = 0;
  int32_t error = request->file->get_size(request->file->ctx, &bytes);
  (void)self;
  if (error != 0) return failed(err, error, "size");
  return sink->put_u64(sink->ctx, "virtual_size", bytes);
}

static int32_t set_size(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                        struct vbd_error *err) VBD_NOEXCEPT {
  uint64_t bytes = 0;
  int32_t error = request->file->get_size(request->file->ctx, &bytes);
  (void)self, (void)sink;
  if (error != 0) return failed(err, error, "size");
  if (request->bytes < bytes && (request->must & VBD_MUST_SHRINK) == 0)
    return fail(err, VBD_E_INVAL, 0, "would lose bytes");
  if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  error = request->file->truncate(request->file->ctx, request->bytes);
  return error == 0 ? VBD_OK : failed(err, error, "truncate");
}

static int32_t open_image(void *self, const struct vbd_request *request, void **out,
                          struct vbd_error *err) VBD_NOEXCEPT {
  struct image *image = malloc(sizeof *image);
  int32_t error;
  (void)self;
  if (image == NULL) return fail(err, VBD_E_INTERNAL, ENOMEM, "open");
  image->file = request->file;
  error = image->file->get_size(image->file->ctx, &image->bytes);
  if (error != 0) {
    free(image);
    return failed(err, error, "size");
  }
  *out = image;
  return VBD_OK;
}

static int32_t close_image(void *opaque, struct vbd_error *err) VBD_NOEXCEPT {
  (void)err;
  free(opaque);
  return VBD_OK;
}

static int32_t geometry(void *opaque, struct vbd_sink *sink, struct vbd_error *err) VBD_NOEXCEPT {
  const struct image *image = opaque;
  int32_t status = sink->put_u64(sink->ctx, "virtual_size", image->bytes);
  (void)err;
  return status != VBD_OK ? status : sink->put_u64(sink->ctx, "unit", 512);
}

static int beyond(const struct image *image, uint64_t offset, uint64_t length) {
  return offset > image->bytes || length > image->bytes - offset;
}

static int32_t map(void *opaque, uint64_t offset, uint64_t length, struct vbd_extent *extents, uint32_t cap,
                   uint32_t *n, struct vbd_error *err) VBD_NOEXCEPT {
  const struct image *image = opaque;
  *n = 0;
  if (beyond(image, offset, length)) return fail(err, VBD_E_INVAL, 0, "beyond the end");
  while (length > 0 && *n < cap) {
    struct vbd_extent extent = {0, 0, 0, 0, 0, 0};
    uint64_t alike = 0;
    uint32_t hole = 0;
    const int32_t error = image->file->map(image->file->ctx, offset, &alike, &hole);
    if (error != 0) return failed(err, error, "map");
    extent.offset = offset;
    extent.length = alike < length ? alike : length;
    extent.kind = hole ? VBD_EXTENT_HOLE : VBD_EXTENT_DATA;
    extent.host_offset = hole ? 0 : offset;
    extents[(*n)++] = extent;
    offset += extent.length;
    length -= extent.length;
  }
  return VBD_OK;
}

static int32_t read_image(void *opaque, void *buf, uint64_t length, uint64_t offset,
                          struct vbd_error *err) VBD_NOEXCEPT {
  const struct image *image = opaque;
  int64_t n;
  if (beyond(image, offset, length)) return fail(err, VBD_E_INVAL, 0, "beyond the end");
  n = image->file->read(image->file->ctx, buf, length, offset);
  if (n < 0) return failed(err, n, "read");
  return (uint64_t)n == length ? VBD_OK : fail(err, VBD_E_CORRUPT, 0, "the file became shorter");
}

static int32_t write_image(void *opaque, const void *buf, uint64_t length, uint64_t offset,
                           struct vbd_error *err) VBD_NOEXCEPT {
  const struct image *image = opaque;
  int64_t n;
  if (beyond(image, offset, length)) return fail(err, VBD_E_INVAL, 0, "beyond the end");
  n = image->file->write(image->file->ctx, buf, length, offset);
  return n < 0 ? failed(err, n, "write") : VBD_OK;
}

static int32_t zero(void *opaque, uint64_t offset, uint64_t length, uint32_t flags,
                    struct vbd_error *err) VBD_NOEXCEPT {
  const struct image *image = opaque;
  int32_t error;
  if (beyond(image, offset, length)) return fail(err, VBD_E_INVAL, 0, "beyond the end");
  if ((flags & VBD_ZERO_KEEP_SPACE) != 0) return fail(err, VBD_E_NOTSUP, 0, "zeros that keep their space");
  error = image->file->punch(image->file->ctx, offset, length);
  return error == 0 ? VBD_OK : failed(err, error, "punch");
}

static int32_t flush(void *opaque, struct vbd_error *err) VBD_NOEXCEPT {
  const struct image *image = opaque;
  const int32_t error = image->file->sync(image->file->ctx);
  return error == 0 ? VBD_OK : failed(err, error, "sync");
}

static int32_t init(const struct vbd_host *host, const struct vbd_kv *config, uint32_t n_config, void **self,
                    struct vbd_error *err) VBD_NOEXCEPT {
  (void)host, (void)config, (void)n_config, (void)err;
  *self = NULL;
  return VBD_OK;
}
static void fini(void *self) VBD_NOEXCEPT {
  (void)self;
}

static const struct vbd_image_ops image_ops = {.size = sizeof image_ops,
                                               .open = open_image,
                                               .close = close_image,
                                               .geometry = geometry,
                                               .map = map,
                                               .read = read_image,
                                               .write = write_image,
                                               .zero = zero,
                                               .flush = flush};
static const struct vbd_filetype_ops ops = {.size = sizeof ops,
                                            .probe = probe,
                                            .info = info,
                                            .create = set_size,
                                            .resize = set_size,
                                            .image = &image_ops};
static const struct vbd_plugin plugin = {.size = sizeof plugin,
                                         .abi_major = VBD_ABI_MAJOR,
                                         .abi_minor = VBD_ABI_MINOR,
                                         .kind = VBD_KIND_FILETYPE,
                                         .constant = CONSTANT,
                                         .name = "thirdparty-flat",
                                         .version = "0.1",
                                         .license = "MIT",
                                         .summary = "the guest's bytes as they are",
                                         .url = "",
                                         .init = init,
                                         .fini = fini,
                                         .filetype = &ops};

const struct vbd_plugin *vbd_plugin_v1(void) VBD_NOEXCEPT {
  return &plugin;
}
