// SPDX-License-Identifier: MIT
// Back end xl over recorded helper runs. The device node that Xen would make is a link to a loop device here,
// so what needs one is skipped without root.
#include "bench.hpp"
#include "sdk/testkit/host.hpp"
#include "tests/support/skip.hpp"

namespace {

using namespace blktap_test;
using vbdkit::testkit::ScriptedHost;

const Pairs kRaw = {{"tap", "aio"}, {"qemu", "raw"}}, kQcow2 = {{"tap", "qcow2"}, {"qemu", "qcow2"}};
const Pairs kXl = {{"backend", "xl"}};
// xvdp is (202 << 8) | (15 << 4), xvdo 16 less.
constexpr const char *kHeader = "Vdev  BE  handle state evt-ch ring-ref BE-path\n";
constexpr const char *kBackend = "/local/domain/0/backend/qdisk/0/51952";
const std::vector<std::string> kReadBackend = {"xenstore-read", "/local/domain/0/device/vbd/51952/backend"};
const std::vector<std::string> kReadParams = {"xenstore-read", std::string(kBackend) + "/params"};

struct Bench {
  explicit Bench(const Pairs &properties, const char *name = "/sda")
      : caller(host.host(), scratch.path + name, properties, "vbdkit-test") {
    REQUIRE(::ftruncate(caller.fd.get(), 1 << 20) == 0);
  }
  ~Bench() {
    if (!link.empty()) ::unlink(link.c_str());
    if (!device.node.empty()) {
      int flush_error = 0;
      vbdkit::loop::clear(device, flush_error, nullptr);
    }
    CHECK(host.problems() == "");
  }
  /// What blkfront would do.
  void appear() {
    const std::string path = scratch.path + "/below";
    const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(file.get(), 1 << 20) == 0);
    const vbdkit::loop::Wanted wanted{file.get(), "vbdkit-stand-in", 512, false, false};
    REQUIRE(vbdkit::loop::attach(wanted, device, nullptr) == VBD_OK);
    REQUIRE(::symlink(device.node.c_str(), "/dev/xvdp") == 0);
    link = "/dev/xvdp";
  }
  void vanish() {
    ::unlink(link.c_str());
    link.clear();
  }
  void expect_owner() {
    host.expect_run({kReadBackend, std::string(kBackend) + "\n", 0, VBD_OK, {}});
    host.expect_run({kReadParams, "qcow2:" + caller.image + "\n", 0, VBD_OK, {}});
  }
  Scratch scratch;
  ScriptedHost host;
  Caller caller;
  vbdkit::loop::Device device;
  std::string link;
};

bool can_link() {
  return ::geteuid() == 0 && ::access("/dev/loop-control", R_OK | W_OK) == 0 && ::access("/dev", W_OK) == 0 &&
         ::access("/dev/xvdp", F_OK) != 0;
}

}  // namespace

TEST_CASE("xl: attach waits for the node; again, query, detach") {
  VBD_REQUIRE_OR_SKIP(can_link(), "fd-blktap xl", "needs root, /dev/loop-control, and no /dev/xvdp");
  Bench bench(kQcow2);
  bench.host.expect_run({{"xl", "block-list", "0"}, kHeader, 0, VBD_OK, {}});
  bench.host.expect_run(
      {{"xl", "block-attach", "0", "format=qcow2,vdev=xvdp,access=rw,target=" + bench.caller.image},
       "",
       0,
       VBD_OK,
       [&] { bench.appear(); }});
  REQUIRE_MESSAGE(bench.caller.attach(kXl) == VBD_OK, bench.caller.error.text());
  CHECK(bench.caller.node() == "/dev/xvdp");
  CHECK(bench.caller.results.text("backend") == "xl");
  CHECK_FALSE(bench.caller.results.flag("locked"));
  bench.expect_owner();
  CHECK(bench.caller.attach(kXl) == VBD_OK);
  bench.expect_owner();
  CHECK(bench.caller.query() == VBD_OK);
  CHECK(bench.caller.results.flag("attached"));
  bench.expect_owner();
  bench.host.expect_run({{"xl", "block-detach", "0", "xvdp"}, "", 0, VBD_OK, [&] { bench.vanish(); }});
  CHECK_MESSAGE(bench.caller.detach() == VBD_OK, bench.caller.error.text());
  CHECK(bench.host.state.empty());
}

TEST_CASE("xl: a name that Xen has given away already is not used") {
  Bench bench(kRaw);
  bench.host.expect_run({{"xl", "block-list", "0"},
                         std::string(kHeader) + "51952 0 0 4 9 9 /local/domain/0/backend/vbd/0/51952\n",
                         0,
                         VBD_OK,
                         {}});
  bench.host.expect_run(
      {{"xl", "block-attach", "0", "format=raw,vdev=xvdo,access=ro,target=" + bench.caller.image},
       "",
       1,
       VBD_OK,
       {}});
  bench.host.expect_run({{"xl", "block-detach", "0", "xvdo"}, "", 0, VBD_OK, {}});
  CHECK(bench.caller.attach(kXl, VBD_MUST_READONLY) == VBD_E_IO);
  CHECK(bench.host.state.empty());
}

TEST_CASE("xl: a disk that never comes is taken back") {
  Bench bench(kQcow2);
  bench.host.cancel_at(3);
  bench.host.expect_run({{"xl", "block-list", "0"}, kHeader, 0, VBD_OK, {}});
  bench.host.expect_run({{"xl", "block-attach", "0", "*"}, "", 0, VBD_OK, {}});
  bench.host.expect_run({{"xl", "block-detach", "0", "xvdp"}, "", 0, VBD_OK, {}});
  CHECK(bench.caller.attach(kXl) == VBD_E_CANCELLED);
  CHECK(bench.host.state.empty());
}

TEST_CASE("xl: one that can't be taken back stays in the record, as broken") {
  Bench bench(kQcow2);
  bench.host.cancel_at(1);
  bench.host.expect_run({{"xl", "block-list", "0"}, kHeader, 0, VBD_OK, {}});
  bench.host.expect_run({{"xl", "block-attach", "0", "*"}, "", 0, VBD_OK, {}});
  bench.host.expect_run({{"xl", "block-detach", "0", "xvdp"}, "", 1, VBD_OK, {}});
  bench.expect_owner();
  CHECK(bench.caller.attach(kXl) == VBD_E_CANCELLED);
  CHECK(bench.host.state.at("xl.vdev") == "xvdp");
  bench.expect_owner();
  CHECK(bench.caller.query() == VBD_OK);
  CHECK_FALSE(bench.caller.results.flag("attached"));
  CHECK(bench.caller.results.has("broken"));
}

TEST_CASE("xl: the name was given to another disk since: not ours, not touched") {
  Bench bench(kQcow2);
  bench.host.state = {{"blktap.backend", "xl"}, {"blktap.mode", "rw"}, {"xl.vdev", "xvdp"}};
  bench.host.expect_run({kReadBackend, std::string(kBackend) + "\n", 0, VBD_OK, {}});
  bench.host.expect_run({kReadParams, "qcow2:/another/disk\n", 0, VBD_OK, {}});
  CHECK(bench.caller.detach() == VBD_OK);
  CHECK(bench.host.state.empty());
}

TEST_CASE("xl: what can't be given to it is refused before it runs") {
  Bench space(kQcow2, "/a b");
  CHECK(space.caller.attach(kXl) == VBD_E_REFUSED);
  Bench accent(kRaw, "/\xc3\xa9");
  CHECK(accent.caller.attach(kXl) == VBD_E_REFUSED);
  Bench shared(kRaw);
  CHECK(shared.caller.attach(kXl, VBD_MUST_SHARED) == VBD_E_NOTSUP);
  const Pairs unknown = {{"tap", "toy"}};
  Bench toy(unknown);
  CHECK(toy.caller.attach(kXl) == VBD_E_NOTSUP);
  Bench missing(kRaw);
  missing.host.expect_run({{"xl", "block-list", "0"}, "", 0, VBD_E_MISSING, {}});
  CHECK(missing.caller.attach(kXl) == VBD_E_MISSING);
  CHECK(missing.caller.error.text().find("xl") != std::string::npos);
}
