/* SPDX-License-Identifier: MIT
 *
 * One plugin, many diseases: each Z_* macro that the test gives replaces one part of a healthy FD_ZOO (or
 * FT_ZOO with -DZ_FILETYPE). tests/abi/test_zoo.py lists them with the error that each must cause. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <vbdkit/plugin.h>

#ifdef Z_FILETYPE
#define Z_KIND_NAME "kind=filetype\0constant=FT_ZOO\0"
#define Z_OPS_NAME \
  "ops=info,image.open,image.close,image.geometry,image.map,image.read,image.reserve,image.commit\0"
#else
#define Z_KIND_NAME "kind=driver\0constant=FD_ZOO\0"
#define Z_OPS_NAME "ops=attach,query\0"
#endif
#ifndef Z_NOTE
#define Z_NOTE "abi=1.0\0min_host_minor=0\0" Z_KIND_NAME "name=zoo\0version=1.0\0" Z_OPS_NAME
#endif
#ifndef Z_NO_NOTE
VBD_PLUGIN_NOTE(Z_NOTE);
#endif
#ifdef Z_SECOND_NOTE
#define vbd_note_ second_note_
VBD_PLUGIN_NOTE(Z_NOTE);
#undef vbd_note_
#endif

#ifdef Z_CONSTRUCTOR
__attribute__((constructor)) static void crash(void) {
  abort();
}
#endif
#ifdef Z_UNDEFINED
void vbd_host_private_function(void);
#endif

static int32_t attach(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                      struct vbd_error *err) VBD_NOEXCEPT {
  (void)self, (void)request, (void)err;
#ifdef Z_UNDEFINED
  vbd_host_private_function();
#endif
#ifdef Z_NEW_FIELD
  /* A field that only a later host has: to be read only within request->size. */
  if (request->size >= offsetof(struct vbd_request, future) + sizeof request->future)
    return sink->put_bool(sink->ctx, "future", 1);
  return sink->put_bool(sink->ctx, "future", 0);
#else
  return sink->put_str(sink->ctx, "node", "/dev/zoo");
#endif
}

static int32_t query(void *self, const struct vbd_request *request, struct vbd_sink *sink,
                     struct vbd_error *err) VBD_NOEXCEPT {
  (void)self, (void)request, (void)err;
  return sink->put_bool(sink->ctx, "attached", 0);
}

#ifndef Z_INIT_RESULT
#define Z_INIT_RESULT VBD_OK
#endif
static int32_t init(const struct vbd_host *host, const struct vbd_kv *config, uint32_t n_config, void **self,
                    struct vbd_error *err) VBD_NOEXCEPT {
  (void)host, (void)config, (void)n_config;
  *self = NULL;
  if (Z_INIT_RESULT != VBD_OK) strncpy(err->msg, "the zoo is closed", err->msg_cap - 1);
  return Z_INIT_RESULT;
}
static void fini(void *self) VBD_NOEXCEPT {
  (void)self;
}

#ifndef Z_DRIVER_SIZE
#define Z_DRIVER_SIZE sizeof(struct vbd_driver_ops)
#endif
#ifndef Z_DRIVER_RESERVED
#define Z_DRIVER_RESERVED 0
#endif
static const struct vbd_driver_ops driver_ops = {
    .size = (uint32_t)(Z_DRIVER_SIZE),
    .reserved = Z_DRIVER_RESERVED,
    .attach = attach,
#ifndef Z_NO_QUERY
    .query = query,
#endif
#ifdef Z_EXTRA_OP
    .detach = query,
#endif
#ifdef Z_NEW_FIELD
    .future = attach,
#endif
};

static int32_t open_image(void *self, const struct vbd_request *request, void **image,
                          struct vbd_error *err) VBD_NOEXCEPT {
  (void)self, (void)request, (void)err;
  *image = NULL;
  return VBD_OK;
}
static int32_t close_image(void *image, struct vbd_error *err) VBD_NOEXCEPT {
  (void)image, (void)err;
  return VBD_OK;
}
static int32_t geometry(void *image, struct vbd_sink *sink, struct vbd_error *err) VBD_NOEXCEPT {
  (void)image, (void)err;
  return sink->put_u64(sink->ctx, "virtual_size", 512);
}
static int32_t map(void *image, uint64_t offset, uint64_t length, struct vbd_extent *extents, uint32_t cap,
                   uint32_t *n, struct vbd_error *err) VBD_NOEXCEPT {
  (void)image, (void)offset, (void)length, (void)extents, (void)cap, (void)n, (void)err;
  return VBD_E_NOTSUP;
}
static int32_t read_image(void *image, void *buf, uint64_t length, uint64_t offset,
                          struct vbd_error *err) VBD_NOEXCEPT {
  (void)image, (void)buf, (void)length, (void)offset, (void)err;
  return VBD_E_NOTSUP;
}
static int32_t commit(void *image, uint64_t offset, uint64_t length, struct vbd_error *err) VBD_NOEXCEPT {
  (void)image, (void)offset, (void)length, (void)err;
  return VBD_E_NOTSUP;
}
#ifndef Z_IMAGE_SIZE
#define Z_IMAGE_SIZE sizeof(struct vbd_image_ops)
#endif
static const struct vbd_image_ops image_ops = {.size = (uint32_t)(Z_IMAGE_SIZE),
                                               .open = open_image,
                                               .close = close_image,
                                               .geometry = geometry,
                                               .map = map,
#ifndef Z_NO_READ
                                               .read = read_image,
#endif
#ifndef Z_NO_RESERVE
                                               .reserve = map,
#endif
                                               .commit = commit};
#ifndef Z_FILETYPE_SIZE
#define Z_FILETYPE_SIZE sizeof(struct vbd_filetype_ops)
#endif
static const struct vbd_filetype_ops filetype_ops = {
    .size = (uint32_t)(Z_FILETYPE_SIZE), .info = query, .image = &image_ops};

#ifndef Z_DRIVER
#ifdef Z_FILETYPE
#define Z_DRIVER NULL
#else
#define Z_DRIVER &driver_ops
#endif
#endif
#ifndef Z_FILETYPE_OPS
#ifdef Z_FILETYPE
#define Z_FILETYPE_OPS &filetype_ops
#else
#define Z_FILETYPE_OPS NULL
#endif
#endif
const struct vbd_driver_ops *const unused_driver_ops = &driver_ops;
const struct vbd_filetype_ops *const unused_filetype_ops = &filetype_ops;

/* A struct vbd_option {name, help, dflt, choices, min, max, type, flags}. */
#ifndef Z_OPTION
#define Z_OPTION \
  { "count", "A number.", "3", NULL, 1, 9, VBD_T_U64, 0 }
#endif
static const struct vbd_option options[] = {Z_OPTION};
#ifndef Z_OPTIONS
#define Z_OPTIONS options
#endif
#ifndef Z_N_OPTIONS
#define Z_N_OPTIONS (sizeof options / sizeof options[0])
#endif
#ifndef Z_STRIDE
#define Z_STRIDE sizeof(struct vbd_option)
#endif

#ifndef Z_SIZE
#define Z_SIZE sizeof(struct vbd_plugin)
#endif
#ifndef Z_MAJOR
#define Z_MAJOR VBD_ABI_MAJOR
#endif
#ifndef Z_MIN_HOST_MINOR
#define Z_MIN_HOST_MINOR 0
#endif
#ifndef Z_FLAGS
#define Z_FLAGS 0
#endif
#ifndef Z_KIND
#ifdef Z_FILETYPE
#define Z_KIND VBD_KIND_FILETYPE
#else
#define Z_KIND VBD_KIND_DRIVER
#endif
#endif
#ifndef Z_CONSTANT
#ifdef Z_FILETYPE
#define Z_CONSTANT "FT_ZOO"
#else
#define Z_CONSTANT "FD_ZOO"
#endif
#endif
#ifndef Z_NAME
#define Z_NAME "zoo"
#endif
#ifndef Z_VERSION
#define Z_VERSION "1.0"
#endif
#ifndef Z_LICENSE
#define Z_LICENSE "MIT"
#endif
#ifndef Z_INIT
#define Z_INIT init
#endif
static const struct vbd_plugin plugin = {
    .size = (uint32_t)(Z_SIZE),
    .abi_major = Z_MAJOR,
    .abi_minor = VBD_ABI_MINOR,
    .kind = Z_KIND,
    .min_host_minor = Z_MIN_HOST_MINOR,
    .flags = Z_FLAGS,
    .constant = Z_CONSTANT,
    .name = Z_NAME,
    .version = Z_VERSION,
    .license = Z_LICENSE,
    .summary = "",
    .url = "",
    .options = Z_OPTIONS,
    .n_options = Z_N_OPTIONS,
    .option_stride = Z_STRIDE,
    .init = Z_INIT,
    .fini = fini,
    .driver = Z_DRIVER,
    .filetype = Z_FILETYPE_OPS,
#ifdef Z_NEW_FIELD
    .future = 7,
#endif
};
const struct vbd_plugin *const unused_plugin = &plugin;
int32_t (*const unused_init)(const struct vbd_host *, const struct vbd_kv *, uint32_t, void **,
                             struct vbd_error *) = init;

#ifndef Z_SYMBOL
#define Z_SYMBOL vbd_plugin_v1
#endif
#ifndef Z_RETURN
#define Z_RETURN &plugin
#endif
VBD_EXPORT const struct vbd_plugin *Z_SYMBOL(void) VBD_NOEXCEPT;
const struct vbd_plugin *Z_SYMBOL(void) VBD_NOEXCEPT {
  return Z_RETURN;
}
