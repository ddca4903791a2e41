// SPDX-License-Identifier: MIT
// Writes the seed corpus, every valid and hostile image of the tests, into a directory; behind a script of so
// many bytes where the target wants one.
#include <cstdio>
#include <cstdlib>

#include "plugins/qcow/tests/corpus.hpp"
#include "sdk/testkit/random.hpp"

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) return 2;
  const std::size_t script = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;
  vbdkit::testkit::Random random(1);
  int n = 0;
  const auto put = [&](const vbdkit::testkit::SparseBytes &bytes) {
    if (bytes.size() > (1u << 20)) return;
    vbdkit::testkit::SparseBytes seed;
    std::vector<unsigned char> content(script + bytes.size());
    for (std::size_t i = 0; i < script; ++i) content[i] = static_cast<unsigned char>(random.below(256));
    bytes.read(content.data() + script, bytes.size(), 0);
    seed.write(content.data(), content.size(), 0);
    qcow_test::save(seed, std::string(argv[1]) + "/seed-" + std::to_string(n++));
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
