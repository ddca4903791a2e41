// SPDX-License-Identifier: MIT
// Writes the seed corpus, every valid and hostile image of the tests, into a directory.
#include <cstdio>

#include "plugins/qcow/tests/corpus.hpp"

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int n = 0;
  const auto put = [&](const vbdkit::testkit::SparseBytes &bytes) {
    if (bytes.size() <= (1u << 20))
      qcow_test::save(bytes, std::string(argv[1]) + "/seed-" + std::to_string(n++));
  };
  for (const auto &[name, image] : qcow_test::parents()) put(image);
  for (const qcow_test::Hostile &one : qcow_test::hostile_images()) {
    const auto *from = qcow_test::parent(one.parent);
    if (from == nullptr) continue;
    auto image = *from;
    one.edit(image);
    put(image);
  }
  std::printf("%d\n", n);
  return 0;
}
