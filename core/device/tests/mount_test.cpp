// SPDX-License-Identifier: MIT
#include "core/sys/mount.hpp"

#include "core/device/tests/device_bench.hpp"

using namespace vbd;
using test::DeviceBench;

TEST_CASE("mount: writes a file, umount gives everything back, both may be repeated") {
  DeviceBench bench;
  NEED_DEVICES(bench, "mount");
  bench.make_ext4("sda");
  const std::string directory = bench.make("mnt");
  const device::MountRequest request{bench.id("sda"), directory, 0, false};
  const auto mounted = device::mount(bench.context(), request);
  REQUIRE_MESSAGE(mounted.ok(), mounted.error().message());
  test::spill(directory + "/file", "hello");
  CHECK(mounted->holders == std::vector<std::string>{"mount:" + directory});
  const auto again = device::mount(bench.context(), request);
  REQUIRE_MESSAGE(again.ok(), again.error().message());
  CHECK(again->node == mounted->node);
  CHECK(bench.attach("sda").error().is(device::kHeldByOther));
  const auto unmounted = device::umount(bench.context(), bench.id("sda"), directory);
  REQUIRE_MESSAGE(unmounted.ok(), unmounted.error().message());
  CHECK_FALSE(test::fs::exists(directory + "/file"));
  CHECK(bench.loops_of("sda") == 0);
  CHECK(bench.run_files().empty());
  const auto twice = device::umount(bench.context(), bench.id("sda"), directory);
  REQUIRE_FALSE(twice.ok());
  CHECK(twice.error().is(sys::kNotMounted));
}

TEST_CASE("mount: read-only leaves every byte of the image alone, also a dirty journal") {
  DeviceBench bench;
  NEED_DEVICES(bench, "mount read-only");
  bench.make_ext4("sda");
  const std::string directory = bench.make("mnt");
  REQUIRE(device::mount(bench.context(), {bench.id("sda"), directory, 0, false}).ok());
  test::spill(directory + "/file", "hello");
  ::sync();
  test::fs::copy_file(bench.image("sda"), bench.image("dirty"));  // as after a power cut
  REQUIRE(device::umount(bench.context(), bench.id("sda"), directory).ok());
  const std::string before = test::slurp(bench.image("dirty"));
  const auto mounted = device::mount(bench.context(), {bench.id("dirty"), directory, 0, true});
  REQUIRE_MESSAGE(mounted.ok(), mounted.error().message());
  CHECK(mounted->read_only);
  REQUIRE(device::umount(bench.context(), bench.id("dirty"), directory).ok());
  CHECK(test::slurp(bench.image("dirty")) == before);
}

TEST_CASE("mount: without a filesystem nothing stays attached") {
  DeviceBench bench;
  NEED_DEVICES(bench, "mount of nothing");
  bench.make_raw("sda", 8 << 20);
  const auto mounted = device::mount(bench.context(), {bench.id("sda"), bench.make("mnt"), 0, false});
  REQUIRE_FALSE(mounted.ok());
  CHECK(mounted.error().is(sys::kUnknownFilesystem));
  CHECK(bench.loops_of("sda") == 0);
  CHECK(bench.run_files().empty());
}

TEST_CASE("mount: a holder whose mount is gone is dropped by umount and by scan") {
  DeviceBench bench;
  NEED_DEVICES(bench, "mount gone");
  bench.make_ext4("sda");
  const std::string directory = bench.make("mnt");
  REQUIRE(device::mount(bench.context(), {bench.id("sda"), directory, 0, false}).ok());
  REQUIRE(::umount2(directory.c_str(), 0) == 0);
  SUBCASE("umount") {
    CHECK(device::umount(bench.context(), bench.id("sda"), directory).ok());
  }
  SUBCASE("scan") {
    const auto found = device::scan(bench.context(), true);
    REQUIRE(found.ok());
    REQUIRE(found->size() == 1);
    CHECK(found->front().repaired);
  }
  CHECK(bench.loops_of("sda") == 0);
  CHECK(bench.run_files().empty());
}

TEST_CASE("mount: a partition by its number") {
  DeviceBench bench;
  NEED_DEVICES(bench, "mount partition");
  bench.make_raw("sda", 32 << 20);
  bench.make_ext4("part");
  // One MBR entry (type 0x83) of 16 MiB at sector 2048.
  std::string mbr(512, '\0');
  mbr[446 + 4] = static_cast<char>(0x83);
  mbr[446 + 9] = 0x08;                      // LBA 2048
  mbr[446 + 13] = static_cast<char>(0x80);  // 32768 sectors
  mbr[510] = 0x55;
  mbr[511] = static_cast<char>(0xaa);
  std::fstream disk(bench.image("sda"), std::ios::in | std::ios::out | std::ios::binary);
  disk << mbr;
  disk.seekp(1 << 20);
  disk << test::slurp(bench.image("part"));
  disk.close();
  const std::string directory = bench.make("mnt");
  const auto whole = device::mount(bench.context(), {bench.id("sda"), directory, 0, false});
  CHECK_FALSE(whole.ok());
  const auto mounted = device::mount(bench.context(), {bench.id("sda"), directory, 1, false});
  REQUIRE_MESSAGE(mounted.ok(), mounted.error().message());
  CHECK(test::fs::exists(directory + "/lost+found"));
  const auto unmounted = device::umount(bench.context(), bench.id("sda"), directory);
  REQUIRE_MESSAGE(unmounted.ok(), unmounted.error().message());
  CHECK(bench.loops_of("sda") == 0);
}
