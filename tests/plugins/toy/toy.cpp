// SPDX-License-Identifier: MIT
// The control operations of FT_TOY and its description.
#include "toy.hpp"

#include <cstring>

namespace {

using toy::Store;
using vbdkit::fail;
using vbdkit::guarded;

constexpr uint32_t kReads = VBD_MUST_READONLY | VBD_MUST_EXCLUSIVE;
constexpr uint32_t kChanges = VBD_MUST_EXCLUSIVE | VBD_MUST_DRY_RUN;
constexpr uint32_t kRepairs = VBD_MUST_REPAIR_LEAKS | VBD_MUST_REPAIR_ALL;

int32_t check_size(uint64_t bytes, vbd_error *err) {
  if (bytes >= toy::kSector && bytes <= toy::kLargest && bytes % toy::kSector == 0) return VBD_OK;
  return fail(err, VBD_E_INVAL, "toy.size_invalid", 0, "the size is a multiple of 512, from 512 to 64 GiB");
}

int32_t probe(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  if (const int32_t status = vbdkit::check_must(request, kReads, err); status != VBD_OK) return status;
  bool found = false;
  for (uint64_t slot = 0; slot < 2; ++slot) {
    char magic[8] = "";
    const int64_t n = request->file->read(request->file->ctx, magic, sizeof magic, slot * toy::kSector);
    if (n < 0) return vbdkit::fail_errno(err, static_cast<int>(-n), "read");
    found = found || (n == sizeof magic && std::memcmp(magic, "VBDTOY1", 8) == 0);
  }
  vbdkit::Sink out(sink);
  out.number("match", found ? 100 : 0);
  out.text("why", found ? "the header's magic" : "no header");
  return out.status();
}

int32_t info(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return guarded(err, [&] {
    Store store;
    int32_t status = vbdkit::check_must(request, kReads, err);
    if (status == VBD_OK) status = store.load(request->file, err);
    if (status != VBD_OK) return status;
    vbdkit::Sink out(sink);
    out.number("virtual_size", store.size());
    return out.status();
  });
}

int32_t create(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  return guarded(err, [&] {
    int32_t status = vbdkit::check_must(request, kChanges, err);
    if (status == VBD_OK) status = check_size(request->bytes, err);
    if (status != VBD_OK || (request->must & VBD_MUST_DRY_RUN) != 0) return status;
    const bool pack = std::strcmp(vbdkit::param(request, "pack", "true"), "true") == 0;
    return Store::create(request->file, request->bytes, pack ? toy::kPack : 0, err);
  });
}

int32_t resize(void *, const vbd_request *request, vbd_sink *, vbd_error *err) noexcept {
  return guarded(err, [&] {
    Store store;
    int32_t status = vbdkit::check_must(request, kChanges | VBD_MUST_SHRINK, err);
    if (status == VBD_OK) status = check_size(request->bytes, err);
    if (status == VBD_OK) status = store.load(request->file, err);
    if (status != VBD_OK) return status;
    if (request->bytes < store.size() && (request->must & VBD_MUST_SHRINK) == 0) {
      return fail(err, VBD_E_INVAL, "toy.would_shrink", 0, "shrinking was not asked for");
    }
    return (request->must & VBD_MUST_DRY_RUN) != 0 ? int32_t{VBD_OK} : store.resize(request->bytes, err);
  });
}

int32_t read_everything(const Store &store, vbd_error *err) {
  toy::Block block;
  for (uint64_t i = 0; i * toy::kBlock < store.size(); ++i) {
    if (const int32_t status = store.read_block(i, block, err); status != VBD_OK) return status;
  }
  return VBD_OK;
}

int32_t check(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  return guarded(err, [&] {
    int32_t status = vbdkit::check_must(request, kReads | VBD_MUST_DRY_RUN | kRepairs, err);
    if (status != VBD_OK) return status;
    Store store;
    vbdkit::Sink out(sink);
    status = store.load(request->file, err);
    if (status == VBD_OK) status = read_everything(store, err);
    if (status != VBD_OK && status != VBD_E_CORRUPT) return status;
    out.number("errors", status == VBD_OK ? 0 : 1);
    if (status != VBD_OK) {
      out.number("leaks", 0);
      out.text("finding.0", err->reason);
      return status;
    }
    uint64_t unused = 0;
    status = store.unused_end(unused, err);
    const bool repair = (request->must & kRepairs) != 0 && (request->must & VBD_MUST_DRY_RUN) == 0;
    if (status == VBD_OK && unused > 0 && repair) status = store.cut_unused_end(err);
    out.number("leaks", repair ? 0 : unused / toy::kSector);
    return status != VBD_OK ? status : out.status();
  });
}

constexpr vbd_option kOptions[] = {
    {"pack", "Pack blocks that become smaller.", "true", nullptr, 0, 0, VBD_T_BOOL,
     VBD_OPT_PER_IMAGE | VBD_OPT_CREATE},
};

int32_t init(const vbd_host *, const vbd_kv *, uint32_t, void **self, vbd_error *) noexcept {
  *self = nullptr;
  return VBD_OK;
}
void fini(void *) noexcept {}

const vbd_filetype_ops kOps = {
    sizeof(vbd_filetype_ops), 0, probe, info, create, resize, check, nullptr, nullptr, &toy::kImageOps,
};

const vbd_plugin kPlugin = {
    sizeof(vbd_plugin),
    VBD_ABI_MAJOR,
    VBD_ABI_MINOR,
    VBD_KIND_FILETYPE,
    0,
    0,
    "FT_TOY",
    "toy",
    "1.0",
    "MIT",
    "a format for tests: packed blocks, verbatim blocks, a table",
    "",
    kOptions,
    1,
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
    "constant=FT_TOY\0"
    "name=toy\0"
    "version=1.0\0"
    "summary=a format for tests: packed blocks, verbatim blocks, a table\0"
    "ops=probe,info,create,resize,check,image.open,image.close,image.geometry,image.map,image.read,image."
    "write,"
    "image.zero,image.flush,image.reserve,image.commit\0");

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
