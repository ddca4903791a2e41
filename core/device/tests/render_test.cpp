// SPDX-License-Identifier: MIT
#include "core/device/tests/device_bench.hpp"

using namespace vbd;
using test::DeviceBench;

namespace {

struct RenderBench : DeviceBench {
  Result<std::string> render(const LogicalId &disk, const std::string &dialect, bool read_only = false) {
    return device::render(context(), {disk, dialect, "sda1", read_only, {}});
  }
};

}  // namespace

TEST_CASE("render: the strings of the old dialect, also before a flat image exists") {
  RenderBench bench;
  NEED_BENCH(bench, "render");
  const auto loop = bench.render(bench.id("sda"), "xm");
  REQUIRE_MESSAGE(loop.ok(), loop.error().message());
  CHECK(*loop == "file:" + bench.image("sda") + ",sda1,w");
  CHECK(*bench.render(bench.id("sda"), "xm", true) == "file:" + bench.image("sda") + ",sda1,r");
  const auto tap = bench.render(bench.id("sda", "FD_BLKTAP"), "xm");
  REQUIRE_MESSAGE(tap.ok(), tap.error().message());
  CHECK(*tap == "tap:aio:" + bench.image("sda") + ",sda1,w");
}

TEST_CASE("render: the string follows the image's header where it depends on it") {
  RenderBench bench;
  NEED_BENCH(bench, "render qcow");
  VBD_REQUIRE_OR_SKIP(bench.run({"qemu-img", "--version"}) == 0, "render qcow", "needs qemu-img");
  const LogicalId disk = bench.id("sda", "FD_BLKTAP", "FT_QCOW");
  const auto missing = bench.render(disk, "xm");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().is(sys::kNotFound));
  REQUIRE(bench.run({"qemu-img", "create", "-q", "-f", "qcow", bench.image("sda"), "10M"}) == 0);
  const auto one = bench.render(disk, "xm");
  REQUIRE_MESSAGE(one.ok(), one.error().message());
  CHECK(*one == "tap:qcow:" + bench.image("sda") + ",sda1,w");
  REQUIRE(bench.run({"qemu-img", "create", "-q", "-f", "qcow2", bench.image("sda"), "10M"}) == 0);
  CHECK(*bench.render(disk, "xm") == "tap:qcow2:" + bench.image("sda") + ",sda1,w");

  REQUIRE(bench.run({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd",
                     bench.image("sda"), "10M"}) == 0);
  const auto hostile = bench.render(disk, "xm");
  REQUIRE_FALSE(hostile.ok());
  CHECK(hostile.error().exit() == Exit::refused);
}

TEST_CASE("render: paths that lead elsewhere or break the string are refused") {
  RenderBench bench;
  NEED_BENCH(bench, "render refusals");
  LogicalId disk = bench.id("sda");
  REQUIRE(::symlink("/etc/passwd", bench.image("link").c_str()) == 0);
  for (const std::string &path : {std::string("/etc/passwd"), bench.image("link"), bench.image("a,b"),
                                  bench.image("a\nb"), bench.image("../images/sda")}) {
    CAPTURE(path);
    disk.path = path;
    const auto refused = bench.render(disk, "xm");
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().exit() == Exit::refused);
    CHECK(refused.error().message().find('\n') == std::string::npos);
  }
  CHECK(bench.render(bench.id("sda", "FD_LOOP", "FT_QCOW"), "xm").error().is(plugin::kNotPaired));
}

TEST_CASE("render: an unknown dialect takes the node of an attached disk, else it is refused") {
  RenderBench bench;
  NEED_DEVICES(bench, "render node");
  bench.make_raw("sda", 8 << 20);
  const auto refused = bench.render(bench.id("sda"), "klingon");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().is(device::kDialect));
  CHECK(refused.error().exit() == Exit::refused);
  CHECK(refused.error().message().find("klingon") != std::string::npos);
  const auto attached = bench.attach("sda");
  REQUIRE(attached.ok());
  const auto node = bench.render(bench.id("sda"), "klingon");
  REQUIRE_MESSAGE(node.ok(), node.error().message());
  CHECK(*node == attached->node);
}
