// SPDX-License-Identifier: MIT
#include "raw.hpp"

#include <new>

namespace {

constexpr vbd_option kOptions[] = {
    {"preallocation",
     "Reserve the disk space at create: off, falloc (reserved, not written) or full (written).", "off",
     "off|falloc|full", 0, 0, VBD_T_ENUM, VBD_OPT_PER_IMAGE | VBD_OPT_CREATE},
};

int32_t init(const vbd_host *host, const vbd_kv *, uint32_t, void **self, vbd_error *err) noexcept {
  auto *made = new (std::nothrow) raw::Self{host};
  if (made == nullptr) return vbdkit::fail(err, VBD_E_INTERNAL, nullptr, ENOMEM, "out of memory");
  *self = made;
  return VBD_OK;
}

void fini(void *self) noexcept {
  delete static_cast<raw::Self *>(self);
}

const vbd_filetype_ops kOps = {
    sizeof(vbd_filetype_ops),
    0,
    raw::probe,
    raw::info,
    raw::create,
    raw::resize,
    raw::check,
    nullptr,
    nullptr,
    &raw::kImageOps,
};

const vbd_plugin kPlugin = {
    sizeof(vbd_plugin),
    VBD_ABI_MAJOR,
    VBD_ABI_MINOR,
    VBD_KIND_FILETYPE,
    0,
    0,
    "FT_RAW",
    "raw",
    "1.0.0",
    "MIT",
    "raw image files: the guest's bytes and nothing else",
    "",
    kOptions,
    sizeof kOptions / sizeof kOptions[0],
    sizeof(vbd_option),
    init,
    fini,
    nullptr,
    &kOps,
    nullptr,
};

}  // namespace

VBD_PLUGIN_NOTE(
    "abi=1.0\0"
    "min_host_minor=0\0"
    "kind=filetype\0"
    "constant=FT_RAW\0"
    "name=raw\0"
    "version=1.0.0\0"
    "summary=raw image files: the guest's bytes and nothing else\0"
    "ops=probe,info,create,resize,check,image.open,image.close,image.geometry,image.map,image.read,image."
    "write,"
    "image.zero,image.flush,image.reserve,image.commit\0"
    "prop.flat=1\0"
    "prop.tap=aio\0"
    "prop.qemu=raw\0");

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
