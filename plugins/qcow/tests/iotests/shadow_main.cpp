// SPDX-License-Identifier: MIT
// Usage: test-qcow-shadow IMAGE [RAW]: what the plugin says of an image, as one JSON object, and the guest's
// bytes into the new sparse file RAW. The script shadow.py compares it with what qemu-img says.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "plugins/qcow/tests/tools.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

constexpr uint64_t kMostDumped = 8ull << 40;

void put_check(const vbd_file *file) {
  const Outcome check = call(Op::check, file);
  std::printf(", \"check\": %d, \"leaks\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"check_reason\": \"%s\"",
              check.status, check.results->number("leaks"), check.results->number("errors"),
              check.reason.c_str());
}

int32_t dump(Image &image, const std::vector<vbd_extent> &extents, const char *path) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int32_t status =
      fd >= 0 && ftruncate(fd, static_cast<off_t>(image.virtual_size())) == 0 ? VBD_OK : VBD_E_IO;
  std::vector<unsigned char> buffer(1u << 20);
  for (const vbd_extent &extent : extents) {
    if (extent.kind == VBD_EXTENT_HOLE || extent.kind == VBD_EXTENT_ZERO) continue;
    for (uint64_t at = 0; at < extent.length && status == VBD_OK; at += buffer.size()) {
      const uint64_t now = std::min<uint64_t>(buffer.size(), extent.length - at);
      status = image.read(buffer.data(), now, extent.offset + at);
      if (status == VBD_OK &&
          pwrite(fd, buffer.data(), now, static_cast<off_t>(extent.offset + at)) != static_cast<ssize_t>(now))
        status = VBD_E_IO;
    }
  }
  close(fd);
  return status;
}

void put_content(const vbd_file *file, const char *raw) {
  Image image(filetype());
  int32_t status = image.open(file, VBD_MUST_READONLY);
  std::vector<vbd_extent> extents;
  if (status == VBD_OK) status = image.map(0, image.virtual_size(), extents);
  if (status == VBD_OK) {
    std::printf(", \"map\": [");
    for (const vbd_extent &e : extents)
      std::printf("%s[%" PRIu64 ", %" PRIu64 ", %u, %" PRIu64 "]", &e == extents.data() ? "" : ", ", e.offset,
                  e.length, e.kind, e.host_offset);
    std::printf("]");
    if (raw != nullptr && image.virtual_size() <= kMostDumped) status = dump(image, extents, raw);
  }
  std::printf(", \"read\": %d, \"read_reason\": \"%s\"", status,
              status == VBD_OK ? "" : image.error().reason().c_str());
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  const int fd = open(argv[1], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return 2;
  const FdFile file(fd, VBD_FILE_READONLY);
  const Outcome info = call(Op::info, file.file());
  std::printf("{\"info\": %d, \"reason\": \"%s\", \"virtual_size\": %" PRIu64 ", \"version\": %" PRIu64
              ", \"cluster_size\": %" PRIu64 ", \"snapshots\": %" PRIu64 ", \"reference\": \"%s\"",
              info.status, info.reason.c_str(), info.results->number("virtual_size"),
              info.results->number("version"), info.results->number("cluster_size"),
              info.results->number("snapshots"), info.results->text("reference.0.role").c_str());
  put_check(file.file());  // also of images that info refuses: check says what is wrong
  if (info.status == VBD_OK && !info.results->has("reference.0.role"))
    put_content(file.file(), argc > 2 ? argv[2] : nullptr);
  std::printf("}\n");
  close(fd);
  return 0;
}
