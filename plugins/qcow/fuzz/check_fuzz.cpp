// SPDX-License-Identifier: MIT
// check, repair and a write on anything. What was repaired must stay repaired, and what a writer accepted
// must be clean afterwards.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const vbd_filetype_ops *ops = qcow_fuzz::filetype().ops;
  const vbdkit::testkit::SparseBytes bytes = qcow_fuzz::image(data, size);
  vbdkit::testkit::MemoryFile file(bytes);
  file.limit_space(64u << 20);
  (void)qcow_fuzz::control(ops->check, file.file(), 0);
  if (!(file.content() == bytes)) __builtin_trap();
  if (qcow_fuzz::control(ops->check, file.file(), VBD_MUST_REPAIR_ALL) == VBD_OK &&
      qcow_fuzz::control(ops->check, file.file(), 0) != VBD_OK)
    __builtin_trap();

  vbdkit::testkit::MemoryFile again(bytes);
  again.limit_space(64u << 20);
  vbdkit::testkit::Request request(again.file());
  vbdkit::testkit::ErrorBox error;
  void *image = nullptr;
  if (ops->image->open(nullptr, request.get(), &image, error.get()) != VBD_OK) return 0;
  vbdkit::testkit::Results results;
  (void)ops->image->geometry(image, results.sink(), error.get());
  const std::uint64_t end = results.number("virtual_size");
  const std::vector<unsigned char> buffer(std::min<std::uint64_t>(end, 5000), 0x5a);
  std::int32_t status = ops->image->write(image, buffer.data(), buffer.size(), 0, error.get());
  if (status == VBD_OK && end > 0)
    status = ops->image->zero(image, end / 2, end - end / 2 > 8192 ? 8192 : end - end / 2, 1, error.get());
  const std::int32_t closed = ops->image->close(image, error.get());
  if (status == VBD_OK && closed == VBD_OK) {
    // Hints that were wrong before may still be, but nothing dangerous may have come.
    void *once_more = nullptr;
    if (ops->image->open(nullptr, request.get(), &once_more, error.get()) != VBD_OK) __builtin_trap();
    (void)ops->image->close(once_more, error.get());
  }
  return 0;
}
