// SPDX-License-Identifier: MIT
// Plays example-ctl back: no root, no device, no helper.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <vbdkit/testkit/host.hpp>
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
  ScriptedHost host;
  std::string problem;
  const auto plugin = Plugin::linked(vbd_plugin_v1(), problem, {}, host.host());
  expect(plugin != nullptr, problem);
  host.expect_run({{"example-ctl", "attach", "/test/image"}, "/dev/example0\n", 0, VBD_OK, {}});
  Request request;
  Results results;
  ErrorBox error;
  const vbd_driver_ops &ops = plugin->driver();
  // Twice: the second call finds the first one's device.
  for (int i = 0; i < 2; ++i) {
    expect(ops.attach(plugin->self(), request.get(), results.sink(), error.get()) == VBD_OK, error.all());
    expect(results.text("node") == "/dev/example0", "the node is reported");
  }
  host.expect_run({{"example-ctl", "detach", "/dev/example0"}, "", 0, VBD_OK, {}});
  expect(ops.detach(plugin->self(), request.get(), results.sink(), error.get()) == VBD_OK, error.all());
  host.state.clear();  // as a host does after a detach
  expect(ops.detach(plugin->self(), request.get(), results.sink(), error.get()) == VBD_OK, error.all());
  host.expect_run({{"example-ctl", "*", "*"}, "", 1, VBD_OK, {}});
  expect(ops.attach(plugin->self(), request.get(), results.sink(), error.get()) == VBD_E_IO,
         "a failure is told");
  expect(host.problems().empty(), host.problems());
}
