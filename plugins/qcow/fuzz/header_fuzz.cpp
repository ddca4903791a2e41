// SPDX-License-Identifier: MIT
// probe and info on anything: the header of each version, its extensions, the snapshot table.
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const vbdkit::testkit::MemoryFile file(qcow_fuzz::image(data, size), VBD_FILE_READONLY);
  const vbd_filetype_ops *ops = qcow_fuzz::filetype().ops;
  (void)qcow_fuzz::control(ops->probe, file.file(), 0);
  (void)qcow_fuzz::control(ops->info, file.file(), 0);
  return 0;
}
