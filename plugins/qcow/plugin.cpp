// SPDX-License-Identifier: MIT
// FT_QCOW: the tables that the host sees. Every callback is guarded: no exception crosses.
#include <vbdkit/plugin.hpp>

#include "create.hpp"
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
    "ops=probe,info,create\0"
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

int32_t on_create(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  return guarded(err, [&] {
    if (const Status s = check_must(request, kKnownMust, err); s != VBD_OK) return s;
    CreateOptions options;
    if (const Status s = parse_create_options(request, &options, err); s != VBD_OK) return s;
    if (request->bytes == 0 || request->bytes > kMaxVirtualSize || request->bytes % 512 != 0)
      return fail(err, VBD_E_INVAL, "qcow.size", 0,
                  "the size must be a multiple of 512, from 512 to 2^63-512");
    return write_new_image(File(request->file), request->bytes, options, err);
  });
}

int32_t on_init(const vbd_host *, const vbd_kv *, uint32_t, void **self, vbd_error *) noexcept {
  *self = nullptr;
  return VBD_OK;
}

void on_fini(void *) noexcept {}

const vbd_filetype_ops kFiletype = {
    sizeof(vbd_filetype_ops), 0, on_probe, on_info, on_create, nullptr, nullptr, nullptr, nullptr, nullptr};

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
