/* SPDX-License-Identifier: MIT
 *
 * FT_EXAMPLE: a filetype in plain C, control operations only: info and create for a format that is flat.
 * Guest bytes are file bytes, and the size is the file's; see the C++ template for an image table. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <vbdkit/plugin.h>

VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=filetype\0constant=FT_EXAMPLE\0name=example\0version=0.1\0"
    "summary=flat images of the example kind\0ops=probe,info,create\0prop.flat=1\0prop.qemu=raw\0");

static int32_t fail(struct vbd_error *err, int32_t status, int32_t sys_errno, const char *reason,
                    const char *text) {
  err->sys_errno = sys_errno;
  err->reason = reason;
  snprintf(err->msg, err->msg_cap, "%s", text);
  return status;
}

static int32_t check_must(const struct vbd_request *request, uint32_t known, struct vbd_error *err) {
  if ((request->must & ~known) == 0) return VBD_OK;
  return fail(err, VBD_E_NOTSUP, 0, "example.must", "unknown must bit");
}

/* Any file may be a flat image: the lowest match there is, so that every other filetype wins. */
static int32_t probe(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                     struct vbd_error *err) VBD_NOEXCEPT {
  const int32_t status = check_must(request, VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE, err);
  (void)self;
  return status != VBD_OK ? status : sink->put_u64(sink->ctx, "match", 1);
}

static int32_t info(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                    struct vbd_error *err) VBD_NOEXCEPT {
  uint64_t bytes = 0;
  const int32_t status = check_must(request, VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE, err);
  (void)self;
  if (status != VBD_OK) return status;
  if (request->file->get_size(request->file->ctx, &bytes) != 0) {
    return fail(err, VBD_E_IO, EIO, "example.size", "the size of the file can't be read");
  }
  return sink->put_u64(sink->ctx, "virtual_size", bytes);
}

static int32_t create(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  const int32_t status = check_must(request, VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN, err);
  int32_t error;
  (void)self, (void)sink;
  if (status != VBD_OK || (request->must & VBD_MUST_DRY_RUN) != 0) return status;
  error = request->file->truncate(request->file->ctx, request->bytes);
  if (error == 0) return VBD_OK;
  return fail(err, error == -EFBIG || error == -ENOSPC ? VBD_E_NOSPC : VBD_E_IO, -error, "example.create",
              "the file can't be given its size");
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

static const struct vbd_filetype_ops ops = {
    .size = sizeof ops, .probe = probe, .info = info, .create = create};

static const struct vbd_plugin plugin = {.size = sizeof plugin,
                                         .abi_major = VBD_ABI_MAJOR,
                                         .abi_minor = VBD_ABI_MINOR,
                                         .kind = VBD_KIND_FILETYPE,
                                         .constant = "FT_EXAMPLE",
                                         .name = "example",
                                         .version = "0.1",
                                         .license = "MIT",
                                         .summary = "flat images of the example kind",
                                         .url = "",
                                         .init = init,
                                         .fini = fini,
                                         .filetype = &ops};

const struct vbd_plugin *vbd_plugin_v1(void) VBD_NOEXCEPT {
  return &plugin;
}
