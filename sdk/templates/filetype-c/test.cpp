// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>
#include <string>

#include <vbdkit/testkit/files.hpp>
#include <vbdkit/testkit/plugin.hpp>

using namespace vbdkit::testkit;

namespace {

void expect(bool condition, const std::string &what) {
  if (condition) return;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  std::exit(1);
}

}  // namespace

int main() {
  std::string problem;
  const auto plugin = Plugin::linked(vbd_plugin_v1(), problem);
  expect(plugin != nullptr, problem);
  const vbd_filetype_ops &ops = *plugin->filetype().ops;
  MemoryFile file;
  Request request(file.file(), 1u << 20);
  Results results;
  ErrorBox error;
  expect(ops.create(plugin->self(), request.get(), results.sink(), error.get()) == VBD_OK, error.all());
  expect(ops.info(plugin->self(), request.get(), results.sink(), error.get()) == VBD_OK, error.all());
  expect(results.number("virtual_size") == 1u << 20, "the size is reported");
  file.limit_size(4096);
  expect(ops.create(plugin->self(), request.get(), results.sink(), error.get()) == VBD_E_NOSPC,
         "EFBIG is told");
}
