// SPDX-License-Identifier: MIT
// What every filetype with an image table should pass; see the contracts in the test kit's headers.
#include <cerrno>
#include <cstdio>
#include <string>

#include <vbdkit/testkit/crash.hpp>
#include <vbdkit/testkit/files.hpp>
#include <vbdkit/testkit/model.hpp>

using namespace vbdkit::testkit;

namespace {

bool report(const char *name, const TestResult &result) {
  std::printf("%s: %s\n", name, result.passed() ? "passed" : result.failure.c_str());
  return result.passed();
}

}  // namespace

int main() {
  std::string problem;
  const auto plugin = Plugin::linked(vbd_plugin_v1(), problem);
  if (plugin == nullptr) return std::fprintf(stderr, "%s\n", problem.c_str()), 1;
  const Filetype filetype = plugin->filetype();
  bool good = true;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    good = report("random guest", model_test(filetype, seed, 300)) && good;
    CrashOptions options;
    options.seed = seed;
    options.bytes = 128u << 10;
    good = report("power cuts", crash_test(filetype, options)) && good;
    good = report("no space", fault_test(filetype, ENOSPC, 20, options)) && good;
  }
  MemoryFile file;
  good = report("threads", parallel_test(filetype, file.file(), 4, {})) && good;
  return good ? 0 : 1;
}
