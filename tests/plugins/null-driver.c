/* SPDX-License-Identifier: MIT
 *
 * FD_NULL: the smallest driver, in plain C99. Its device is /dev/null, so every attach succeeds and nothing
 * is kept; a real one names a block device, or vbd refuses the attachment. Copy it to begin a driver. */
#include <stddef.h>
#include <string.h>
#include <vbdkit/plugin.h>

VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=driver\0constant=FD_NULL\0name=null-driver\0version=1.0\0"
    "summary=forgets everything\0ops=attach,detach,query,render\0");

static int32_t refuse(struct vbd_error *err, int32_t status, const char *why) {
  strncpy(err->msg, why, err->msg_cap - 1);
  err->msg[err->msg_cap - 1] = '\0';
  return status;
}

static int32_t attach(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  (void)self;
  if ((request->must & ~(uint32_t)(VBD_MUST_READONLY | VBD_MUST_DRY_RUN)) != 0)
    return refuse(err, VBD_E_NOTSUP, "a must bit that this driver does not know");
  if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  return sink->put_str(sink->ctx, "node", "/dev/null");
}

static int32_t detach(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  (void)self, (void)request, (void)sink, (void)err;
  return VBD_OK;
}

static int32_t query(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                     struct vbd_error *err) VBD_NOEXCEPT {
  (void)self, (void)request, (void)err;
  return sink->put_bool(sink->ctx, "attached", 0);
}

static int32_t render(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  (void)self;
  if (request->dialect == NULL || strcmp(request->dialect, "null") != 0)
    return refuse(err, VBD_E_NOTSUP, "the one dialect of this driver is null");
  return sink->put_str(sink->ctx, "disk", "null:");
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

static const struct vbd_driver_ops ops = {
    .size = sizeof ops, .attach = attach, .detach = detach, .query = query, .render = render};

static const struct vbd_plugin plugin = {.size = sizeof plugin,
                                         .abi_major = VBD_ABI_MAJOR,
                                         .abi_minor = VBD_ABI_MINOR,
                                         .kind = VBD_KIND_DRIVER,
                                         .constant = "FD_NULL",
                                         .name = "null-driver",
                                         .version = "1.0",
                                         .license = "MIT",
                                         .summary = "forgets everything",
                                         .url = "",
                                         .init = init,
                                         .fini = fini,
                                         .driver = &ops};

const struct vbd_plugin *vbd_plugin_v1(void) VBD_NOEXCEPT {
  return &plugin;
}
