/* SPDX-License-Identifier: MIT
 *
 * FD_EXAMPLE: a driver in plain C. A helper program, example-ctl, makes the device and prints its node:
 *   example-ctl attach PATH [ro]    example-ctl detach NODE
 * The node is put down before anybody learns of it, so that a repeated attach, and a detach after a kill,
 * find it. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <vbdkit/plugin.h>

VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=driver\0constant=FD_EXAMPLE\0name=example\0version=0.1\0"
    "summary=devices made by example-ctl\0ops=attach,detach,query\0need.flat=1\0requires=example-ctl\0");

struct driver {
  const struct vbd_host *host;
  const struct vbd_ext_run *run;
  const struct vbd_ext_state *state;
};
static struct driver the_driver;

static int32_t fail(struct vbd_error *err, int32_t status, const char *reason, const char *text) {
  err->reason = reason;
  snprintf(err->msg, err->msg_cap, "%s", text);
  return status;
}

/* Runs example-ctl; its first line of output comes back in out. */
static int32_t ctl(const struct driver *self, const char *const *argv, char *out, uint32_t cap,
                   struct vbd_error *err) {
  struct vbd_run_args args = {.size = sizeof args, .argv = argv, .out = out, .out_cap = cap};
  const int32_t status = self->run->run(self->host->ctx, &args, err);
  if (status != VBD_OK) return status; /* the host filled the error */
  if (args.exit_status != 0) return fail(err, VBD_E_IO, "example.ctl_failed", "example-ctl failed");
  out[strcspn(out, "\n")] = '\0';
  return VBD_OK;
}

static int32_t attach(void *ctx, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  const struct driver *self = ctx;
  const uint32_t known = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN;
  const char *argv[] = {"example-ctl", "attach", request->image, NULL, NULL};
  const char *node = self->state->get(self->host->ctx, "node");
  char out[256] = "";
  int32_t status;
  if ((request->must & ~known) != 0) return fail(err, VBD_E_NOTSUP, "example.must", "unknown must bit");
  if (node != NULL) return sink->put_str(sink->ctx, "node", node);
  if ((request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  if ((request->must & VBD_MUST_READONLY) != 0) argv[3] = "ro";
  status = ctl(self, argv, out, sizeof out, err);
  if (status != VBD_OK) return status;
  status = self->state->put(self->host->ctx, "node", out, err);
  return status != VBD_OK ? status : sink->put_str(sink->ctx, "node", out);
}

static int32_t detach(void *ctx, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  const struct driver *self = ctx;
  const char *node = self->state->get(self->host->ctx, "node");
  const char *argv[] = {"example-ctl", "detach", node, NULL};
  char out[256] = "";
  (void)sink;
  if ((request->must & ~(uint32_t)VBD_MUST_DRY_RUN) != 0) {
    return fail(err, VBD_E_NOTSUP, "example.must", "unknown must bit");
  }
  if (node == NULL || (request->must & VBD_MUST_DRY_RUN) != 0) return VBD_OK;
  return ctl(self, argv, out, sizeof out, err);
}

static int32_t query(void *ctx, const struct vbd_request *request, struct vbd_sink *sink,
                     struct vbd_error *err) VBD_NOEXCEPT {
  const struct driver *self = ctx;
  const char *node = self->state->get(self->host->ctx, "node");
  int32_t status = sink->put_bool(sink->ctx, "attached", node != NULL);
  (void)request, (void)err;
  if (status == VBD_OK && node != NULL) status = sink->put_str(sink->ctx, "node", node);
  return status;
}

static int32_t init(const struct vbd_host *host, const struct vbd_kv *config, uint32_t n_config, void **self,
                    struct vbd_error *err) VBD_NOEXCEPT {
  (void)config, (void)n_config;
  the_driver.host = host;
  the_driver.run = host->get_extension(host->ctx, VBD_EXT_RUN);
  the_driver.state = host->get_extension(host->ctx, VBD_EXT_STATE);
  *self = &the_driver;
  if (the_driver.run != NULL && the_driver.state != NULL) return VBD_OK;
  return fail(err, VBD_E_NOTSUP, "example.host", "the host can't run helpers or keep state");
}

static void fini(void *self) VBD_NOEXCEPT {
  (void)self;
}

static const struct vbd_driver_ops ops = {
    .size = sizeof ops, .attach = attach, .detach = detach, .query = query};

static const struct vbd_plugin plugin = {.size = sizeof plugin,
                                         .abi_major = VBD_ABI_MAJOR,
                                         .abi_minor = VBD_ABI_MINOR,
                                         .kind = VBD_KIND_DRIVER,
                                         .constant = "FD_EXAMPLE",
                                         .name = "example",
                                         .version = "0.1",
                                         .license = "MIT",
                                         .summary = "devices made by example-ctl",
                                         .url = "",
                                         .init = init,
                                         .fini = fini,
                                         .driver = &ops};

const struct vbd_plugin *vbd_plugin_v1(void) VBD_NOEXCEPT {
  return &plugin;
}
