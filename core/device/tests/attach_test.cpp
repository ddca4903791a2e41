// SPDX-License-Identifier: MIT
#include <sys/wait.h>

#include "core/device/tests/device_bench.hpp"

using namespace vbd;
using test::DeviceBench;

TEST_CASE("attach: a node, the same node again, and nothing left after detach") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach");
  bench.make_raw("sda", 8 << 20);
  CHECK(bench.status("sda").state == device::Status::State::detached);
  auto first = bench.attach("sda");
  REQUIRE_MESSAGE(first.ok(), first.error().message());
  CHECK(first->node.starts_with("/dev/loop"));
  CHECK(first->holders == std::vector<std::string>{"cli"});
  auto again = bench.attach("sda");
  REQUIRE_MESSAGE(again.ok(), again.error().message());
  CHECK(again->node == first->node);
  CHECK(bench.loops_of("sda") == 1);

  const auto status = bench.status("sda");
  CHECK(status.state == device::Status::State::attached);
  CHECK(status.attachment.node == first->node);
  CHECK(status.attachment.facts.text("backend") == "loop");
  CHECK(*device::holders_of(bench.context(), bench.id("sda")) == std::vector<std::string>{"cli"});

  const auto detached = bench.detach("sda");
  REQUIRE_MESSAGE(detached.ok(), detached.error().message());
  CHECK(bench.loops_of("sda") == 0);
  CHECK(bench.status("sda").state == device::Status::State::detached);
  CHECK(bench.run_files().empty());
  CHECK(bench.detach("sda").ok());
  CHECK(device::holders_of(bench.context(), bench.id("sda"))->empty());
}

TEST_CASE("attach: the lock outlives the call, so that QEMU's tools keep away") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach and qemu-img");
  VBD_REQUIRE_OR_SKIP(bench.run({"qemu-img", "--version"}) == 0, "attach and qemu-img", "needs qemu-img");
  bench.make_raw("sda", 8 << 20);
  REQUIRE(bench.attach("sda").ok());
  std::string said;
  CHECK(bench.run({"qemu-img", "create", "-f", "raw", bench.image("sda"), "1M"}, &said) != 0);
  CHECK(said.find("lock") != std::string::npos);
  CHECK(test::fs::file_size(bench.image("sda")) == 8 << 20);
  REQUIRE(bench.detach("sda").ok());
  CHECK(bench.run({"qemu-img", "create", "-q", "-f", "raw", bench.image("sda"), "1M"}) == 0);
}

TEST_CASE("attach: who else has the image is named and nothing is changed") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach in use");
  bench.make_raw("sda", 8 << 20);
  const sys::Fd user(::open(bench.image("sda").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(sys::lock_image(user.get(), sys::ImageLockMode::exclusive, "sda").ok());
  auto locked = bench.attach("sda");
  REQUIRE_FALSE(locked.ok());
  CHECK(locked.error().is(sys::kInUse));
  CHECK(locked.error().exit() == Exit::busy);
  REQUIRE(sys::unlock_image(user.get()).ok());

  std::string node;
  REQUIRE(bench.run({"losetup", "--find", "--show", bench.image("sda")}, &node) == 0);
  node.resize(node.find('\n'));
  auto looped = bench.attach("sda");
  REQUIRE_FALSE(looped.ok());
  CHECK(looped.error().is(sys::kInUse));
  CHECK(looped.error().message().find(node) != std::string::npos);
  CHECK(bench.status("sda").state == device::Status::State::detached);
  CHECK(bench.detach("sda").ok());
  CHECK(bench.loops_of("sda") == 1);  // somebody else's is left alone
  DeviceBench::clear(node);
  CHECK(bench.run_files().empty());
}

TEST_CASE("attach: a program that only has the image open is in the way of a writer, not of a reader") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach beside a reader");
  bench.make_raw("sda", 8 << 20);
  const auto tail = bench.runner->spawn({{"tail", "-f", bench.image("sda")}, {}, "vbdkit-test-tail", {}, ""});
  REQUIRE(tail.ok());
  for (int i = 0; i < 50 && !sys::find_usage(DeviceBench::file_id(bench.image("sda")))->any(); ++i)
    ::usleep(20000);
  const auto writer = bench.attach("sda");
  REQUIRE_FALSE(writer.ok());
  CHECK(writer.error().message().find("tail") != std::string::npos);
  const auto reader = bench.attach("sda", "cli", true);
  CHECK_MESSAGE(reader.ok(), (reader.ok() ? "" : reader.error().message()));
  CHECK(bench.runner->stop(*tail, std::chrono::seconds(2)).ok());
  CHECK(bench.detach("sda").ok());
}

TEST_CASE("holders: two readers share, a writer shares with nobody, the device goes with the last") {
  DeviceBench bench;
  NEED_DEVICES(bench, "holders");
  bench.make_raw("sda", 8 << 20);
  auto one = bench.attach("sda", "cli", true);
  REQUIRE_MESSAGE(one.ok(), one.error().message());
  auto two = bench.attach("sda", "ganeti:vol1", true);
  REQUIRE_MESSAGE(two.ok(), two.error().message());
  CHECK(one->node == two->node);
  CHECK(two->holders == std::vector<std::string>{"cli", "ganeti:vol1"});
  auto writer = bench.attach("sda", "instance:web", false);
  REQUIRE_FALSE(writer.ok());
  CHECK(writer.error().is(device::kHeldByOther));
  CHECK(writer.error().message().find("cli, ganeti:vol1") != std::string::npos);
  CHECK(writer.error().message().find("instance:web") != std::string::npos);
  const auto stranger = bench.detach("sda", "instance:web");
  REQUIRE_FALSE(stranger.ok());
  CHECK(stranger.error().message().find("cli") != std::string::npos);
  REQUIRE(bench.detach("sda", "cli").ok());
  CHECK(bench.loops_of("sda") == 1);
  REQUIRE(bench.detach("sda", "ganeti:vol1").ok());
  CHECK(bench.loops_of("sda") == 0);
  CHECK(bench.run_files().empty());

  REQUIRE(bench.attach("sda", "cli").ok());
  for (const bool read_only : {false, true}) {
    const auto other = bench.attach("sda", "instance:web", read_only);
    REQUIRE_FALSE(other.ok());
    CHECK(other.error().is(device::kHeldByOther));
  }
  CHECK_FALSE(bench.attach("sda", "cli", true).ok());
}

TEST_CASE("detach: a busy device is refused by name, and stays") {
  DeviceBench bench;
  NEED_DEVICES(bench, "busy detach");
  bench.make_ext4("sda");
  auto attached = bench.attach("sda");
  REQUIRE_MESSAGE(attached.ok(), attached.error().message());
  const std::string directory = bench.make("mnt");
  REQUIRE(::mount(attached->node.c_str(), directory.c_str(), "ext4", 0, "") == 0);
  const auto busy = bench.detach("sda");
  REQUIRE_FALSE(busy.ok());
  CHECK(busy.error().is(device::kDeviceBusy));
  CHECK(busy.error().exit() == Exit::busy);
  CHECK(busy.error().message().find(directory) != std::string::npos);
  test::spill(directory + "/file", "still writable");
  CHECK(bench.status("sda").state == device::Status::State::attached);
  CHECK(bench.attach("sda")->node == attached->node);
  REQUIRE(::umount2(directory.c_str(), 0) == 0);
  const auto detached = bench.detach("sda");
  REQUIRE_MESSAGE(detached.ok(), detached.error().message());
  CHECK(bench.run_files().empty());
}

TEST_CASE("attach: what is no image of ours is refused before anything is made") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach refusals");
  bench.make_raw("sda", 8 << 20);
  bench.make_raw("empty", 0);
  REQUIRE(::symlink("sda", bench.image("link").c_str()) == 0);
  REQUIRE(::mkfifo(bench.image("fifo").c_str(), 0600) == 0);
  test::fs::create_directory(bench.image("dir"));
  const auto before = DeviceBench::files_below(bench.images());
  struct Case {
    const char *name;
    const ErrorKind &kind;
  };
  const Case cases[] = {{"link", sys::kSymlink},
                        {"fifo", sys::kNotRegular},
                        {"dir", sys::kNotRegular},
                        {"missing", sys::kNotFound}};
  for (const Case &one : cases) {
    CAPTURE(one.name);
    const auto attached = bench.attach(one.name);
    REQUIRE_FALSE(attached.ok());
    CHECK_MESSAGE(attached.error().is(one.kind), attached.error().message());
  }
  CHECK(DeviceBench::files_below(bench.images()) == before);
  CHECK(bench.attach("empty").error().is(image::kBadSizeInImage));
  device::AttachSpec outside{
      {test::constant("FD_LOOP"), test::constant("FT_RAW"), "/etc/hostname"}, "cli", true, {}, 512, false};
  CHECK(device::attach(bench.context(), outside).error().is(sys::kOutside));
  device::AttachSpec unpaired{bench.id("sda", "FD_LOOP", "FT_QCOW"), "cli", false, {}, 512, false};
  CHECK(device::attach(bench.context(), unpaired).error().is(plugin::kNotPaired));
  CHECK(bench.run_files().empty());
}

TEST_CASE("attach: a dry run checks, and changes nothing") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach dry run");
  bench.make_raw("sda", 8 << 20);
  device::AttachSpec spec{bench.id("sda"), "cli", false, {}, 512, true};
  const auto planned = device::attach(bench.context(), spec);
  REQUIRE_MESSAGE(planned.ok(), planned.error().message());
  CHECK(bench.loops_of("sda") == 0);
  CHECK(bench.run_files().empty());
  CHECK(DeviceBench::files_below(bench.images()) == std::vector<std::string>{bench.image("sda")});
  spec.options["direct_io"] = "perhaps";
  CHECK(device::attach(bench.context(), spec).error().is(plugin::kBadOption));
}

TEST_CASE("attach: on a read-only filesystem the lock file lies in the run directory") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach on a read-only filesystem");
  test::fs::create_directory(bench.image("ro"));
  ::chmod(bench.image("ro").c_str(), 0755);
  bench.make_raw("ro/sda", 8 << 20);
  const std::string directory = bench.image("ro");
  REQUIRE(::mount(directory.c_str(), directory.c_str(), nullptr, MS_BIND, nullptr) == 0);
  REQUIRE(::mount(nullptr, directory.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
  CHECK_FALSE(bench.attach("ro/sda").ok());
  const auto attached = bench.attach("ro/sda", "cli", true);
  REQUIRE_MESSAGE(attached.ok(), attached.error().message());
  CHECK(attached->read_only);
  const auto detached = bench.detach("ro/sda");
  CHECK_MESSAGE(detached.ok(), (detached.ok() ? "" : detached.error().message()));
}

TEST_CASE("attach: two starters at once, exactly one gets the disk") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach at once");
  bench.make_raw("sda", 8 << 20);
  for (int round = 0; round < 5; ++round) {
    std::vector<pid_t> children;
    for (const char *holder : {"cli", "instance:web", "ganeti:vol"}) {
      const pid_t child = ::fork();
      REQUIRE(child >= 0);
      if (child == 0) ::_exit(bench.attach("sda", holder).ok() ? 0 : 1);
      children.push_back(child);
    }
    int won = 0;
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) ++won;
    }
    CHECK(won == 1);
    CHECK(bench.loops_of("sda") == 1);
    const auto holders = bench.status("sda").attachment.holders;
    REQUIRE(holders.size() == 1);
    REQUIRE(bench.detach("sda", holders.front()).ok());
  }
}

TEST_CASE("attach: a qcow2 of QEMU's own tools through its storage daemon, written, detached, still clean") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach qcow2");
  VBD_REQUIRE_OR_SKIP(
      bench.run({"qemu-storage-daemon", "--version"}) == 0 && ::access("/dev/fuse", R_OK | W_OK) == 0,
      "attach qcow2", "needs qemu-storage-daemon and /dev/fuse");
  REQUIRE(bench.run({"qemu-img", "create", "-q", "-f", "qcow2", bench.image("sda"), "32M"}) == 0);
  REQUIRE(bench.run({"qemu-io", "-f", "qcow2", "-c", "write -P 7 24M 1M", bench.image("sda")}) == 0);
  const device::AttachSpec spec{
      bench.id("sda", "FD_BLKTAP", "FT_QCOW"), "cli", false, {{"backend", "qsd"}}, 512, false};
  const auto attached = device::attach(bench.context(), spec);
  REQUIRE_MESSAGE(attached.ok(), attached.error().message());
  CHECK(attached->facts.text("backend") == "qsd");
  const auto again = device::attach(bench.context(), spec);
  REQUIRE_MESSAGE(again.ok(), again.error().message());
  CHECK(again->node == attached->node);
  CHECK(bench.run({"qemu-img", "convert", "-O", "raw", bench.image("sda"), bench.image("copy")}) != 0);
  const auto rendered = device::render(bench.context(), {spec.id, "xm", "sda1", false, {}});
  REQUIRE_MESSAGE(rendered.ok(), rendered.error().message());
  CHECK(*rendered == "tap:qcow2:" + bench.image("sda") + ",sda1,w");

  REQUIRE(bench.run({"mkfs.ext4", "-q", "-F", attached->node}) == 0);
  const std::string directory = bench.make("mnt");
  const int mounted = ::mount(attached->node.c_str(), directory.c_str(), "ext4", 0, "");
  REQUIRE(mounted == 0);
  test::spill(directory + "/file", "hello");
  CHECK(device::detach(bench.context(), spec.id, "cli").error().is(device::kDeviceBusy));
  REQUIRE(::umount2(directory.c_str(), 0) == 0);
  const auto detached = device::detach(bench.context(), spec.id, "cli");
  REQUIRE_MESSAGE(detached.ok(), detached.error().message());
  CHECK(bench.run_files().empty());
  std::string said;
  CHECK_MESSAGE(bench.run({"qemu-img", "check", bench.image("sda")}, &said) == 0, said);
  REQUIRE(bench.run({"qemu-img", "convert", "-O", "raw", bench.image("sda"), bench.image("copy")}) == 0);
  CHECK(test::slurp(bench.image("copy")).find("hello") != std::string::npos);
}

TEST_CASE("attach: a qcow2 that names a second file is refused before any helper sees it") {
  DeviceBench bench;
  NEED_DEVICES(bench, "attach with a backing file");
  VBD_REQUIRE_OR_SKIP(bench.run({"qemu-img", "--version"}) == 0, "attach with a backing file",
                      "needs qemu-img");
  REQUIRE(bench.run({"qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd",
                     bench.image("sda"), "10M"}) == 0);
  const auto refused = device::attach(
      bench.context(), {bench.id("sda", "FD_BLKTAP", "FT_QCOW"), "cli", false, {}, 512, false});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().exit() == Exit::refused);
  CHECK_MESSAGE(refused.error().message().find("/etc/passwd") != std::string::npos,
                refused.error().message());
  CHECK(bench.run_files().empty());
}
