// SPDX-License-Identifier: MIT
// open, map and read on anything: a bounded number of extents, the bytes of the first of each kind, and the
// end.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const vbdkit::testkit::MemoryFile file(qcow_fuzz::image(data, size), VBD_FILE_READONLY);
  const vbd_image_ops *ops = qcow_fuzz::filetype().ops->image;
  vbdkit::testkit::Request request(file.file(), 0, VBD_MUST_READONLY);
  vbdkit::testkit::ErrorBox error;
  void *image = nullptr;
  if (ops->open(nullptr, request.get(), &image, error.get()) != VBD_OK) return 0;
  vbdkit::testkit::Results results;
  (void)ops->geometry(image, results.sink(), error.get());
  const std::uint64_t end = results.number("virtual_size");
  std::vector<unsigned char> buffer(65536);
  vbd_extent extents[16];
  std::uint64_t at = 0;
  for (int calls = 0; calls < 16 && at < end; ++calls) {
    std::uint32_t n = 0;
    if (ops->map(image, at, end - at, extents, 16, &n, error.get()) != VBD_OK) break;
    for (std::uint32_t i = 0; i < n; ++i) {
      if (extents[i].offset != at || extents[i].length == 0) __builtin_trap();
      at += extents[i].length;
      const std::uint64_t length = std::min<std::uint64_t>(buffer.size(), extents[i].length);
      (void)ops->read(image, buffer.data(), length, extents[i].offset, error.get());
    }
  }
  if (end >= 512) (void)ops->read(image, buffer.data(), 512, end - 512, error.get());
  (void)ops->close(image, error.get());
  return 0;
}
