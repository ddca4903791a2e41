// SPDX-License-Identifier: MIT
// A program of its own, because it measures its own memory: data scattered over a 16 TiB image, then open,
// map, read and check. At most 64 MiB and a byte for each KiB of tables.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>

#include "sdk/testkit/random.hpp"
#include "tools.hpp"

using namespace qcow_test;
using namespace vbdkit::testkit;

namespace {

constexpr uint64_t kBytes = 16ull << 40;
constexpr int kWrites = 3000;

int failed(const char *what, Image &image) {
  std::fprintf(stderr, "%s: %s\n", what, image.error().all().c_str());
  return 1;
}

int work(const vbd_file *file) {
  if (call(Op::create, file, kBytes).status != VBD_OK) return 1;
  Image image(filetype());
  if (image.open(file, 0) != VBD_OK) return failed("open", image);
  Random random(1);
  std::vector<unsigned char> data(4096, 0x5a);
  for (int i = 0; i < kWrites; ++i) {
    if (image.write(data.data(), data.size(), random.below(kBytes / 4096) * 4096) != VBD_OK)
      return failed("write", image);
  }
  if (image.close() != VBD_OK) return failed("close", image);
  if (image.open(file, VBD_MUST_READONLY) != VBD_OK) return failed("open again", image);
  uint64_t stored = 0;
  for (uint64_t at = 0; at < kBytes;) {
    vbd_extent extents[256];
    uint32_t n = 0;
    if (image.ops()->map(image.raw(), at, kBytes - at, extents, 256, &n, image.error().get()) != VBD_OK)
      return failed("map", image);
    for (uint32_t i = 0; i < n; ++i) {
      at += extents[i].length;
      if (extents[i].kind != VBD_EXTENT_DATA) continue;
      stored += extents[i].length;
      if (image.read(data.data(), data.size(), extents[i].offset) != VBD_OK) return failed("read", image);
    }
  }
  const Outcome check = call(Op::check, file);
  std::printf("%llu bytes stored, check: %d, %llu leaks\n", static_cast<unsigned long long>(stored),
              check.status, static_cast<unsigned long long>(check.results->number("leaks")));
  return stored > kWrites * 60000ull && check.status == VBD_OK && check.results->number("leaks") == 0 ? 0 : 1;
}

}  // namespace

int main() {
  const Scratch scratch;
  const DiskFile disk(scratch.path("image"), true, VBD_FILE_NO_SYNC);
  const int result = work(disk.file());
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const uint64_t tables = kWrites * 65536ull;
  const uint64_t used = static_cast<uint64_t>(usage.ru_maxrss) * 1024, bound = (64ull << 20) + tables / 1024;
  std::printf("%llu KiB used, bound %llu KiB\n", static_cast<unsigned long long>(used / 1024),
              static_cast<unsigned long long>(bound / 1024));
  return result != 0 || used > bound ? 1 : 0;
}
