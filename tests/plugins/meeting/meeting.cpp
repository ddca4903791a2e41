// SPDX-License-Identifier: MIT
// Two filetypes that look at who calls them. FT_ALONE does not say that it is parallel: each of its calls
// takes a while, and one that meets another, of any image of it, fails. FT_SOCIAL says so, and its reads wait
// until two are inside at the same time; one that nobody joins within 20 seconds fails. An image of either is
// the guest's bytes with every byte turned over (so not flat), 64 KiB of it hole after 64 KiB of it data.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vbdkit/plugin.hpp>

#ifdef MEETING_SOCIAL
#define CONSTANT "FT_SOCIAL"
#define NAME "social"
VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=filetype\0constant=FT_SOCIAL\0name=social\0version=1.0\0"
    "ops=info,image.open,image.close,image.geometry,image.map,image.read\0");
#else
#define CONSTANT "FT_ALONE"
#define NAME "alone"
VBD_PLUGIN_NOTE(
    "abi=1.0\0min_host_minor=0\0kind=filetype\0constant=FT_ALONE\0name=alone\0version=1.0\0"
    "ops=info,image.open,image.close,image.geometry,image.map,image.read\0");
#endif

namespace {

using vbdkit::fail;

constexpr uint64_t kStripe = 65536;

struct Image {
  const vbd_file *file;
  uint64_t bytes;
};

#ifdef MEETING_SOCIAL
std::mutex mutex;
std::condition_variable came;
int inside = 0;
bool met = false;

int32_t enter(vbd_error *err) {
  std::unique_lock lock(mutex);
  met = met || ++inside == 2;
  came.notify_all();
  const bool joined = came.wait_for(lock, std::chrono::seconds(20), [] { return met; });
  --inside;
  return joined ? VBD_OK : fail(err, VBD_E_TIMEOUT, "social.alone", 0, "no second call came");
}
int32_t enter_map(vbd_error *) {
  return VBD_OK;
}
void leave() {}
#else
std::atomic<bool> busy{false};

int32_t enter(vbd_error *err) {
  if (busy.exchange(true)) return fail(err, VBD_E_INTERNAL, "alone.called_twice", 0, "two calls at once");
  std::this_thread::sleep_for(std::chrono::microseconds(200));
  return VBD_OK;
}
int32_t enter_map(vbd_error *err) {
  return enter(err);
}
void leave() {
  busy = false;
}
#endif

int32_t size_of(const vbd_file *file, uint64_t *bytes, vbd_error *err) noexcept {
  const int32_t error = file->get_size(file->ctx, bytes);
  return error == 0 ? VBD_OK : vbdkit::fail_errno(err, -error, "size");
}

int32_t info(void *, const vbd_request *request, vbd_sink *sink, vbd_error *err) noexcept {
  uint64_t bytes = 0;
  if (const int32_t status = size_of(request->file, &bytes, err)) return status;
  vbdkit::Sink out(sink);
  out.number("virtual_size", bytes);
  return out.status();
}

int32_t open(void *, const vbd_request *request, void **image, vbd_error *err) noexcept {
  uint64_t bytes = 0;
  if (const int32_t status = size_of(request->file, &bytes, err)) return status;
  *image = new (std::nothrow) Image{request->file, bytes};
  return *image != nullptr ? VBD_OK : fail(err, VBD_E_INTERNAL, nullptr, ENOMEM, "out of memory");
}

int32_t close(void *image, vbd_error *) noexcept {
  delete static_cast<Image *>(image);
  return VBD_OK;
}

int32_t geometry(void *image, vbd_sink *sink, vbd_error *) noexcept {
  vbdkit::Sink out(sink);
  out.number("virtual_size", static_cast<Image *>(image)->bytes);
  out.number("unit", 512);
  return out.status();
}

int32_t map(void *, uint64_t offset, uint64_t length, vbd_extent *extents, uint32_t cap, uint32_t *n,
            vbd_error *err) noexcept {
  *n = 0;
  if (const int32_t status = enter_map(err); status != VBD_OK) return status;
  for (const uint64_t end = offset + length; offset < end && *n < cap; ++*n) {
    const uint64_t some = std::min(end - offset, kStripe - offset % kStripe);
    const bool data = offset / kStripe % 2 == 0;
    extents[*n] = {offset, some, 0, data ? std::uint32_t{VBD_EXTENT_PACKED} : std::uint32_t{VBD_EXTENT_HOLE},
                   0,      0};
    offset += some;
  }
  leave();
  return VBD_OK;
}

int32_t read(void *image, void *buf, uint64_t length, uint64_t offset, vbd_error *err) noexcept {
  if (const int32_t status = enter(err); status != VBD_OK) return status;
  const vbd_file *file = static_cast<Image *>(image)->file;
  auto *to = static_cast<unsigned char *>(buf);
  const int32_t status = vbdkit::read_exactly(file, to, length, offset, "meeting.short", err);
  for (uint64_t i = 0; i < length; ++i) {
    const bool data = (offset + i) / kStripe % 2 == 0;
    to[i] = data ? static_cast<unsigned char>(~to[i]) : std::uint8_t{0};
  }
  leave();
  return status;
}

int32_t init(const vbd_host *, const vbd_kv *, uint32_t, void **self, vbd_error *) noexcept {
  *self = nullptr;
  return VBD_OK;
}
void fini(void *) noexcept {}

vbd_image_ops image_ops() noexcept {
  vbd_image_ops ops{};
  ops.size = sizeof ops;
#ifdef MEETING_SOCIAL
  ops.flags = VBD_IMAGE_PARALLEL_READ;
#endif
  ops.open = open;
  ops.close = close;
  ops.geometry = geometry;
  ops.map = map;
  ops.read = read;
  return ops;
}
const vbd_image_ops kImage = image_ops();

vbd_filetype_ops filetype_ops() noexcept {
  vbd_filetype_ops ops{};
  ops.size = sizeof ops;
  ops.info = info;
  ops.image = &kImage;
  return ops;
}
const vbd_filetype_ops kOps = filetype_ops();

constexpr vbd_plugin kPlugin{sizeof(vbd_plugin),
                             VBD_ABI_MAJOR,
                             VBD_ABI_MINOR,
                             VBD_KIND_FILETYPE,
                             0,
                             0,
                             CONSTANT,
                             NAME,
                             "1.0",
                             "MIT",
                             "",
                             "",
                             nullptr,
                             0,
                             0,
                             init,
                             fini,
                             nullptr,
                             &kOps,
                             nullptr};

}  // namespace

extern "C" const vbd_plugin *vbd_plugin_v1(void) noexcept {
  return &kPlugin;
}
