// SPDX-License-Identifier: MIT
// probe and info on anything that begins as an image of version QCOW_FUZZ_VERSION: header, extensions,
// tables.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  vbdkit::testkit::SparseBytes bytes = qcow_fuzz::image(data, size);
  const unsigned char begin[8] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, QCOW_FUZZ_VERSION};
  bytes.write(begin, sizeof begin, 0);
  const vbdkit::testkit::MemoryFile file(bytes, VBD_FILE_READONLY);
  const vbd_filetype_ops *ops = qcow_fuzz::filetype().ops;
  (void)qcow_fuzz::control(ops->probe, file.file(), 0);
  (void)qcow_fuzz::control(ops->info, file.file(), 0);
  return 0;
}
