// SPDX-License-Identifier: MIT
#include "core/sys/usage.hpp"

#include <algorithm>

#include "core/sys/locks.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using test::OtherProcess;
using test::Scratch;
using test::TestLoop;

namespace {

FileId id_of(const std::string &path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return file_info(fd.get())->id;
}

bool uses(const Usage &usage, pid_t pid, bool writes) {
  return std::any_of(usage.processes.begin(), usage.processes.end(),
                     [&](const ProcessUse &use) { return use.pid == pid && use.writes == writes; });
}

}  // namespace

TEST_CASE("a file that nobody has open is free") {
  const Scratch scratch;
  const auto usage = find_usage(id_of(scratch.file("sda", "x")));
  REQUIRE(usage);
  CHECK_FALSE(usage->any());
  CHECK(usage->describe().empty());
  if (::geteuid() == 0) CHECK(usage->unseen == "");
}

TEST_CASE("other processes that have it open are found, readers and writers") {
  const Scratch scratch;
  const std::string path = scratch.file("sda", "x");
  const OtherProcess reader([&] { return ::open(path.c_str(), O_RDONLY) >= 0; });
  const OtherProcess writer([&] { return ::open(path.c_str(), O_RDWR) >= 0; });
  const Fd mine(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const auto usage = find_usage(id_of(path));
  REQUIRE(usage);
  CHECK(usage->processes.size() == 2);
  CHECK(uses(*usage, reader.pid(), false));
  CHECK(uses(*usage, writer.pid(), true));
  CHECK(usage->describe().find("process " + std::to_string(writer.pid()) + " (test-sys)") !=
        std::string::npos);
}

TEST_CASE("a loop device is found through any name of its file") {
  VBD_REQUIRE_OR_SKIP(test::have_loops(), "loop_by_inode", "needs root and loop devices");
  const Scratch scratch;
  const std::string path = scratch.sparse_file("sda", 1 << 20);
  REQUIRE(::link(path.c_str(), (scratch / "other").c_str()) == 0);
  const Fd image(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const TestLoop loop(image.get(), "vbdkit:test", LO_FLAGS_READ_ONLY);
  REQUIRE_FALSE(loop.node.empty());
  REQUIRE(::unlink(path.c_str()) == 0);
  const auto loops = loops_of(id_of(scratch / "other"));
  REQUIRE(loops);
  REQUIRE(loops->size() == 1);
  CHECK(loops->front().node == loop.node);
  CHECK(loops->front().tag == "vbdkit:test");
  CHECK(loops->front().read_only);
  CHECK(loops->front().block_size == 512);
  const auto usage = find_usage(id_of(scratch / "other"));
  CHECK(usage->any());
  CHECK(usage->describe() == "loop device " + loop.node);
  scratch.file("unrelated");
  CHECK(loops_of(id_of(scratch / "unrelated"))->empty());
}

TEST_CASE("a loop device keeps the lock of the descriptor it was given") {
  VBD_REQUIRE_OR_SKIP(test::have_loops(), "loop_keeps_lock", "needs root and loop devices");
  const Scratch scratch;
  const std::string path = scratch.sparse_file("sda", 1 << 20);
  Fd image(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(lock_image(image.get(), ImageLockMode::exclusive, path));
  {
    const TestLoop loop(image.get());
    REQUIRE_FALSE(loop.node.empty());
    image.reset();
    const Fd other(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto refused = lock_image(other.get(), ImageLockMode::inspect, path);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message().find(loop.node) != std::string::npos);
  }
  const Fd other(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(lock_image(other.get(), ImageLockMode::exclusive, path));
}

TEST_CASE("users of a device node are found") {
  VBD_REQUIRE_OR_SKIP(test::have_loops(), "node_usage", "needs root and loop devices");
  const Scratch scratch;
  const std::string path = scratch.sparse_file("sda", 1 << 20);
  const Fd image(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  TestLoop loop(image.get());
  REQUIRE_FALSE(loop.node.empty());
  loop.device.reset();
  CHECK_FALSE(find_node_usage(loop.node)->any());
  const OtherProcess user([&] { return ::open(loop.node.c_str(), O_RDONLY) >= 0; });
  const auto usage = find_node_usage(loop.node);
  REQUIRE(usage);
  CHECK(uses(*usage, user.pid(), false));
  CHECK(holders_of_node(loop.node)->empty());
  CHECK(mounts_of_node(loop.node)->empty());
}

TEST_CASE("what is no block device is said to be none") {
  const Scratch scratch;
  CHECK(mounts_of_node(scratch.file("f")).error().is(kNotRegular));
  CHECK(holders_of_node(scratch / "none").error().is(kNotFound));
  CHECK_FALSE(find_node_usage("/dev/null").ok());
}
