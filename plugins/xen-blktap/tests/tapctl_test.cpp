// SPDX-License-Identifier: MIT
// Back end tapctl and the choice of auto over recorded helper runs. The block device that tap-ctl would give
// is a loop device here, so what needs one is skipped without root.
#include "bench.hpp"
#include "sdk/testkit/host.hpp"
#include "tests/support/skip.hpp"

namespace {

using namespace blktap_test;
using vbdkit::testkit::ScriptedHost;

const Pairs kRaw = {{"tap", "aio"}, {"qemu", "raw"}}, kQcow2 = {{"tap", "qcow2"}, {"qemu", "qcow2"}};
const Pairs kTapctl = {{"backend", "tapctl"}};

struct Bench {
  explicit Bench(const Pairs &properties = kRaw)
      : caller(host.host(), scratch.path + "/sda", properties, "vbdkit-test") {
    REQUIRE(::ftruncate(caller.fd.get(), 1 << 20) == 0);
    args = properties[0].second + ":" + caller.image;
    line = "pid=77 minor=3 state=0 args=" + args + "\n";
  }
  ~Bench() { CHECK(host.problems() == ""); }
  Scratch scratch;
  ScriptedHost host;
  Caller caller;
  std::string args, line;
};

/// Stands in for /dev/xen/blktap-2/tapdevN.
struct StandIn {
  explicit StandIn(const std::string &directory) : path(directory + "/below") {
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(file.get(), 1 << 20) == 0);
    const vbdkit::loop::Wanted wanted{file.get(), "vbdkit-stand-in", 512, false, false};
    REQUIRE(vbdkit::loop::attach(wanted, device, nullptr) == VBD_OK);
  }
  ~StandIn() {
    int flush_error = 0;
    vbdkit::loop::clear(device, flush_error, nullptr);
  }
  std::string path;
  vbdkit::loop::Device device;
};

bool can_loop() {
  return ::geteuid() == 0 && ::access("/dev/loop-control", R_OK | W_OK) == 0;
}

}  // namespace

TEST_CASE("tapctl: attach, again, query, busy, detach") {
  VBD_REQUIRE_OR_SKIP(can_loop(), "fd-blktap tapctl", "needs root and /dev/loop-control");
  Bench bench;
  const StandIn node(bench.scratch.path);
  const std::string line = "pid=77 minor=3 state=0 args=" + bench.args + "\n";
  bench.host.expect_run({{"tap-ctl", "list"}, "pid=1 minor=0 state=0 args=aio:/other\n", 0, VBD_OK, {}});
  bench.host.expect_run({{"tap-ctl", "create", "-a", bench.args}, node.device.node + "\n", 0, VBD_OK, {}});
  REQUIRE_MESSAGE(bench.caller.attach(kTapctl) == VBD_OK, bench.caller.error.text());
  CHECK(bench.caller.node() == node.device.node);
  CHECK(bench.caller.results.text("backend") == "tapctl");
  CHECK_FALSE(bench.caller.results.flag("locked"));
  CHECK(bench.caller.results.flag("direct_io"));
  CHECK(bench.host.state.at("blktap.backend") == "tapctl");

  bench.host.expect_run({{"tap-ctl", "list"}, line, 0, VBD_OK, {}});
  CHECK(bench.caller.attach(kTapctl) == VBD_OK);
  CHECK(bench.caller.node() == node.device.node);
  bench.host.expect_run({{"tap-ctl", "list"}, line, 0, VBD_OK, {}});
  CHECK(bench.caller.query() == VBD_OK);
  CHECK(bench.caller.results.flag("attached"));
  bench.host.expect_run({{"tap-ctl", "list"}, line, 0, VBD_OK, {}});
  CHECK(bench.caller.attach(kTapctl, VBD_MUST_READONLY) == VBD_E_BUSY);
  {
    const UniqueFd user(::open(node.device.node.c_str(), O_RDONLY | O_CLOEXEC));
    bench.host.expect_run({{"tap-ctl", "list"}, line, 0, VBD_OK, {}});
    CHECK(bench.caller.detach() == VBD_E_BUSY);
  }
  bench.host.expect_run({{"tap-ctl", "list"}, line, 0, VBD_OK, {}});
  bench.host.expect_run({{"tap-ctl", "destroy", "-p", "77", "-m", "3"}, "", 0, VBD_OK, {}});
  bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_OK, {}});
  CHECK_MESSAGE(bench.caller.detach() == VBD_OK, bench.caller.error.text());
  CHECK(bench.host.state.empty());
}

TEST_CASE("tapctl: read-only is said to tap-ctl") {
  VBD_REQUIRE_OR_SKIP(can_loop(), "fd-blktap tapctl read-only", "needs root and /dev/loop-control");
  Bench bench;
  const StandIn node(bench.scratch.path);
  bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_OK, {}});
  bench.host.expect_run(
      {{"tap-ctl", "create", "-a", bench.args, "-R"}, node.device.node + "\n", 0, VBD_OK, {}});
  CHECK(bench.caller.attach(kTapctl, VBD_MUST_READONLY) == VBD_OK);
  CHECK(bench.caller.results.flag("read_only"));
}

TEST_CASE("tapctl: a missing helper is named and nothing is recorded") {
  Bench bench;
  bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_E_MISSING, {}});
  CHECK(bench.caller.attach(kTapctl) == VBD_E_MISSING);
  CHECK(bench.caller.error.text().find("tap-ctl") != std::string::npos);
  CHECK(bench.host.state.empty());
}

TEST_CASE("tapctl: somebody else's tapdisk on the image") {
  Bench bench;
  bench.host.expect_run({{"tap-ctl", "list"}, bench.line, 0, VBD_OK, {}});
  CHECK(bench.caller.attach(kTapctl) == VBD_E_BUSY);
  CHECK(bench.caller.error.text().find("77") != std::string::npos);
}

TEST_CASE("tapctl: a blktap without kernel module prints a plain file: taken down, not supported") {
  Bench bench;
  bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_OK, {}});
  bench.host.expect_run(
      {{"tap-ctl", "create", "-a", bench.args}, "/run/blktap-control/tapdisk/tapdisk-3\n", 0, VBD_OK, {}});
  bench.host.expect_run({{"tap-ctl", "list"}, bench.line, 0, VBD_OK, {}});
  bench.host.expect_run({{"tap-ctl", "destroy", "-p", "77", "-m", "3"}, "", 0, VBD_OK, {}});
  CHECK(bench.caller.attach(kTapctl) == VBD_E_NOTSUP);
  CHECK(bench.caller.error.text().find("backend=qsd") != std::string::npos);
  CHECK(bench.host.state.empty());
}

TEST_CASE("tapctl: a format that it has not (exit status ENOSYS or ENOENT), and a failure") {
  Bench bench(kQcow2);
  for (const auto &[exit_status, wanted] :
       {std::pair{38, std::int32_t{VBD_E_NOTSUP}}, {2, VBD_E_NOTSUP}, {5, VBD_E_IO}, {16, VBD_E_BUSY}}) {
    bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_OK, {}});
    bench.host.expect_run({{"tap-ctl", "create", "-a", bench.args}, "", exit_status, VBD_OK, {}});
    bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_OK, {}});
    CHECK(bench.caller.attach(kTapctl) == wanted);
    CHECK(bench.host.state.empty());
  }
}

TEST_CASE("tapctl: killed after create: query says broken, detach takes it down") {
  Bench bench;
  bench.host.state = {{"blktap.backend", "tapctl"}, {"blktap.mode", "rw"}, {"tapctl.args", bench.args}};
  bench.host.expect_run({{"tap-ctl", "list"}, bench.line, 0, VBD_OK, {}});
  CHECK(bench.caller.query() == VBD_OK);
  CHECK_FALSE(bench.caller.results.flag("attached"));
  CHECK(bench.caller.results.text("broken").find("77") != std::string::npos);
  bench.host.expect_run({{"tap-ctl", "list"}, bench.line, 0, VBD_OK, {}});
  bench.host.expect_run({{"tap-ctl", "destroy", "-p", "77", "-m", "3"}, "", 0, VBD_OK, {}});
  bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_OK, {}});
  CHECK(bench.caller.detach() == VBD_OK);
  CHECK(bench.host.state.empty());
}

TEST_CASE("auto: neither tap-ctl nor qemu-storage-daemon: the last one is named, the lock is back") {
  VBD_REQUIRE_OR_SKIP(can_loop() && ::access("/dev/fuse", R_OK | W_OK) == 0, "fd-blktap auto",
                      "needs root, /dev/fuse and /dev/loop-control");
  VBD_REQUIRE_OR_SKIP(::access("/proc/xen/capabilities", F_OK) != 0, "fd-blktap auto", "this host runs Xen");
  Bench bench;
  bench.host.state_directory = bench.scratch.path;
  bench.host.expect_run({{"tap-ctl", "list"}, "", 0, VBD_E_MISSING, {}});
  bench.host.expect_spawn({"qemu-storage-daemon", "--blockdev", "*", "--blockdev", "*", "--export", "*"},
                          4000000, VBD_E_MISSING);
  CHECK(bench.caller.attach({}) == VBD_E_MISSING);
  CHECK(bench.caller.error.text().find("qemu-storage-daemon") != std::string::npos);
  CHECK(bench.host.lock_held);
  CHECK(bench.host.state.empty());
  CHECK(::access((bench.scratch.path + "/disk.img").c_str(), F_OK) != 0);
}
