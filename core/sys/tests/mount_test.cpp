// SPDX-License-Identifier: MIT
#include "core/sys/mount.hpp"

#include <sys/mount.h>

#include "core/sys/run.hpp"
#include "core/sys/tests/scratch.hpp"
#include "core/sys/usage.hpp"

using namespace vbd;
using namespace vbd::sys;
using test::OtherProcess;
using test::Scratch;
using test::TestLoop;

namespace {

bool made(std::vector<std::string> argv) {
  RunSpec spec;
  spec.argv = std::move(argv);
  return run_checked(*make_real_runner(), spec).ok();
}

struct Mounted {
  std::string path;
  ~Mounted() { ::umount2(path.c_str(), MNT_DETACH); }
};

}  // namespace

TEST_CASE("filesystem types are told by their magic") {
  const Scratch scratch;
  const std::string path = scratch.sparse_file("f", 64 << 20);
  CHECK(filesystem_type(path)->empty());
  CHECK(filesystem_type(scratch.file("short", "xx"))->empty());
  CHECK(filesystem_type(scratch / "none").error().is(kNotFound));
  for (const auto &[program, type] : {std::pair{"mkfs.ext2", "ext2"},
                                      {"mkfs.ext3", "ext3"},
                                      {"mkfs.ext4", "ext4"},
                                      {"mkswap", "swap"},
                                      {"mkfs.vfat", "vfat"}}) {
    REQUIRE(::truncate(path.c_str(), 0) == 0);
    REQUIRE(::truncate(path.c_str(), 64 << 20) == 0);
    if (!made(std::string_view(type).starts_with("ext") ? std::vector<std::string>{program, "-q", "-F", path}
                                                        : std::vector<std::string>{program, path})) {
      std::fprintf(stderr, "SKIP filesystem_type_%s: needs %s\n", type, program);
      continue;
    }
    CHECK(*filesystem_type(path) == type);
  }
}

TEST_CASE("a node is mounted without suid, devices and programs, and unmounted when free") {
  VBD_REQUIRE_OR_SKIP(test::have_loops(), "mount", "needs root and loop devices");
  const Scratch scratch;
  const std::string path = scratch.sparse_file("f", 16 << 20);
  VBD_REQUIRE_OR_SKIP(made({"mkfs.ext4", "-q", "-F", path}), "mount", "needs mkfs.ext4");
  const Fd image(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  TestLoop loop(image.get());
  REQUIRE_FALSE(loop.node.empty());
  loop.device.reset();
  const Mounted point{scratch.directory("mnt")};
  CHECK(unmount(point.path).error().is(kNotMounted));
  REQUIRE(mount_node({loop.node, *open_mount_point(point.path), "ext4", false}));
  const auto mounts = mounts_of_node(loop.node);
  REQUIRE(mounts);
  REQUIRE(mounts->size() == 1);
  CHECK(mounts->front().target == point.path);
  CHECK(mounts->front().type == "ext4");
  for (const char *option : {"nosuid", "nodev", "noexec"})
    CHECK(mounts->front().options.find(option) != std::string::npos);
  CHECK(find_usage(file_info(image.get())->id)->describe().find("(mounted at " + point.path + ")") !=
        std::string::npos);
  {
    const OtherProcess inside([&] { return ::chdir(point.path.c_str()) == 0; });
    REQUIRE(inside.ready);
    const auto busy = unmount(point.path);
    REQUIRE_FALSE(busy);
    CHECK(busy.error().is(kInUse));
    CHECK(busy.error().message().find("process " + std::to_string(inside.pid())) != std::string::npos);
  }
  CHECK(unmount(point.path));
  CHECK(unmount(point.path).error().exit() == Exit::not_found);
}

TEST_CASE("a read-only mount leaves a journal that needs replay alone") {
  VBD_REQUIRE_OR_SKIP(test::have_loops(), "mount_read_only", "needs root and loop devices");
  const Scratch scratch;
  const std::string path = scratch.sparse_file("f", 16 << 20), copy = scratch / "copy";
  VBD_REQUIRE_OR_SKIP(made({"mkfs.ext4", "-q", "-F", path}), "mount_read_only", "needs mkfs.ext4");
  const Mounted point{scratch.directory("mnt")};
  {  // a copy taken while mounted is what a crash leaves
    const Fd image(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    const TestLoop loop(image.get());
    REQUIRE(mount_node({loop.node, *open_mount_point(point.path), "", false}));
    const Fd file(::open((point.path + "/x").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::fsync(file.get()) == 0);
    REQUIRE(std::filesystem::copy_file(path, copy));
  }
  ::umount2(point.path.c_str(), MNT_DETACH);
  const auto before = read_file(copy, 64 << 20);
  {
    const Fd image(::open(copy.c_str(), O_RDONLY | O_CLOEXEC));
    TestLoop loop(image.get(), "", LO_FLAGS_READ_ONLY);
    REQUIRE_FALSE(loop.node.empty());
    REQUIRE(mount_node({loop.node, *open_mount_point(point.path), "", true}));
    CHECK(mounts_of_node(loop.node)->front().options.find("ro") != std::string::npos);
    REQUIRE(unmount(point.path));
  }
  CHECK((*read_file(copy, 64 << 20) == *before));
}

TEST_CASE("what can't be mounted says why") {
  VBD_REQUIRE_OR_SKIP(test::have_loops(), "mount_refusals", "needs root and loop devices");
  const Scratch scratch;
  const std::string path = scratch.sparse_file("f", 1 << 20);
  const Fd image(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const TestLoop loop(image.get());
  REQUIRE_FALSE(loop.node.empty());
  const std::string point = scratch.directory("mnt");
  CHECK(mount_node({loop.node, *open_mount_point(point), "", false}).error().is(kUnknownFilesystem));
  CHECK(mount_node({loop.node, *open_mount_point(point), "ext4", false}).error().is(kUnknownFilesystem));
  CHECK(mount_node({loop.node, *open_mount_point(point), "nosuchfs", false}).error().is(kUnknownFilesystem));
  CHECK(open_mount_point(scratch / "none").error().is(kNotFound));
}

TEST_CASE("a link is no mount point, and one on the way does not count") {
  const Scratch scratch;
  const std::string real = scratch.directory("real");
  std::filesystem::create_directory_symlink("real", scratch / "link");
  std::filesystem::create_directory_symlink(".", scratch / "way");
  const auto link = open_mount_point(scratch / "link");
  REQUIRE_FALSE(link);
  CHECK(link.error().is(kMountLink));
  CHECK(link.error().hint() == "name the directory that it leads to: " + real);
  const auto way = open_mount_point(scratch / "way/real");
  REQUIRE(way);
  CHECK(way->path == real);
}
