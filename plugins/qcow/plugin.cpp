// SPDX-License-Identifier: MIT
// FT_QCOW: the tables that the host sees. Every callback is guarded: no exception crosses.
#include "plugin.hpp"

#include "check.hpp"
#include "create.hpp"
#include "image.hpp"
#include "info.hpp"
#include "options.hpp"

VBD_PLUGIN_NOTE(
    "abi=1.0\0"
    "min_host_minor=0\0"
    "kind=filetype\0"
    "constant=FT_QCOW\0"
    "name=qcow\0"
    "version=1.0\0"
    "summary=qcow versions 1, 2 and 3 (qcow2), read and written natively\0"
    "ops=probe,info,create,resize,check,image.open,image.close,image.geometry,image.map,image.read,"
    "image.write,image.zero,image.flush,image.reserve,image.commit\0"
    "prop.tap=qcow2\0"
    "prop.qemu=qcow2\0");

namespace vbdkit::qcow {
namespace {

constexpr uint32_t kKnownMust = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN;

int32_t on_probe(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return guarded(err, [&] { return probe(File(request->file), sink, err); });
}

int32_t on_info(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return guarded(err, [&] {
    if (const Status s = check_must(request, kKnownMust, err); s != VBD_OK) return s;
    return info(File(request->file), sink, err);
  });
}

Status check_bytes(const vbd_request *request, vbd_error *err) {
  if (request->bytes != 0 && request->bytes <= kMaxVirtualSize && request->bytes % 512 == 0) return VBD_OK;
  return fail(err, VBD_E_INVAL, "qcow.size", 0, "the size must be a multiple of 512, from 512 to 2^63-512");
}

Status preallocate(const vbd_request *request, const CreateOptions &options, vbd_error *err) {
  vbd_request open = {};
  open.size = sizeof open;
  open.file = request->file;
  std::unique_ptr<Image> image;
  if (const Status s = Image::open(&open, &image, err); s != VBD_OK) return s;
  const bool blocks = options.preallocation == Preallocation::falloc;
  const Status status = image->preallocate(blocks, options.preallocation == Preallocation::full, err);
  const Status closed = image->close(status == VBD_OK ? err : nullptr);
  return status != VBD_OK ? status : closed;
}

int32_t on_create(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  return guarded(err, [&] {
    if (const Status s = check_must(request, kKnownMust, err); s != VBD_OK) return s;
    CreateOptions options;
    if (const Status s = parse_create_options(request, &options, err); s != VBD_OK) return s;
    if (const Status s = check_bytes(request, err); s != VBD_OK) return s;
    if (const Status s = write_new_image(File(request->file), request->bytes, options, err); s != VBD_OK)
      return s;
    return options.preallocation == Preallocation::off ? Status{VBD_OK} : preallocate(request, options, err);
  });
}

int32_t on_resize(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  return guarded(err, [&] {
    if (const Status s = check_must(request, kKnownMust | VBD_MUST_SHRINK, err); s != VBD_OK) return s;
    if (const Status s = check_bytes(request, err); s != VBD_OK) return s;
    std::unique_ptr<Image> image;
    if (const Status s = Image::open(request, &image, err); s != VBD_OK) return s;
    const bool dry = (request->must & VBD_MUST_DRY_RUN) != 0;
    Status status = image->resize(request->bytes, (request->must & VBD_MUST_SHRINK) != 0, dry, err);
    const Status closed = image->close(status == VBD_OK ? err : nullptr);
    return status != VBD_OK ? status : closed;
  });
}

int32_t on_check(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return guarded(err, [&] {
    const uint32_t repair = VBD_MUST_REPAIR_LEAKS | VBD_MUST_REPAIR_ALL;
    if (const Status s = check_must(request, kKnownMust | repair, err); s != VBD_OK) return s;
    return check(File(request->file), request->must, sink, err);
  });
}

int32_t on_init(const vbd_host *, const vbd_kv *, uint32_t, void **self, vbd_error *) noexcept {
  *self = nullptr;
  return VBD_OK;
}

void on_fini(void *) noexcept {}

const vbd_filetype_ops kFiletype = {sizeof(vbd_filetype_ops),
                                    0,
                                    on_probe,
                                    on_info,
                                    on_create,
                                    on_resize,
                                    on_check,
                                    nullptr,
                                    nullptr,
                                    &kImage};

const vbd_plugin kPlugin = {sizeof(vbd_plugin),
                            VBD_ABI_MAJOR,
                            VBD_ABI_MINOR,
                            VBD_KIND_FILETYPE,
                            0,
                            0,
                            "FT_QCOW",
                            "qcow",
                            "1.0",
                            "MIT",
                            "qcow versions 1, 2 and 3 (qcow2), read and written natively",
                            "",
                            kOptions,
                            sizeof kOptions / sizeof kOptions[0],
                            sizeof(vbd_option),
                            on_init,
                            on_fini,
                            nullptr,
                            &kFiletype,
                            nullptr};

}  // namespace
}  // namespace vbdkit::qcow

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &vbdkit::qcow::kPlugin;
}
