// SPDX-License-Identifier: MIT
// FD_LOOP against the real kernel. Needs root and /dev/loop-control.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "sdk/testkit/host.hpp"
#include "sdk/testkit/plugin.hpp"
#include "tests/support/skip.hpp"

#include <vbdkit/plugin.hpp>

namespace {

using namespace vbdkit::testkit;
using vbdkit::UniqueFd;

bool can_loop() {
  return ::geteuid() == 0 && ::access("/dev/loop-control", R_OK | W_OK) == 0;
}
#define NEED_LOOP(name) VBD_REQUIRE_OR_SKIP(can_loop(), name, "needs root and /dev/loop-control")

/// A scratch image, the plugin, and what was attached; whatever is left at the end is cleared.
struct Bench {
  explicit Bench(off_t size = 8 << 20, const char *base = "/var/tmp") {
    std::string pattern = std::string(base) + "/vbdkit-loop-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    image = directory + "/sda";
    tag = "vbdkit-test:" + std::to_string(::getpid()) + ":" + directory.substr(directory.size() - 6);
    fd = UniqueFd(::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(fd.get(), size) == 0);
    std::string problem;
    plugin = Plugin::linked(vbd_plugin_v1(), problem, {}, host.host());
    REQUIRE_MESSAGE(plugin != nullptr, problem);
  }
  ~Bench() {
    for (const vbdkit::loop::Device &device : vbdkit::loop::list()) {
      vbdkit::loop::FileKey key;
      const bool mine = device.tag == tag ||
                        (vbdkit::loop::key_of(fd.get(), key) && device.error == 0 && device.backing == key);
      if (!mine) continue;
      const UniqueFd node(::open(device.node.c_str(), O_RDONLY | O_CLOEXEC));
      ::ioctl(node.get(), LOOP_CLR_FD);
    }
    ::unlink(image.c_str());
    ::rmdir(directory.c_str());
  }

  std::int32_t call(vbd_op op, std::uint32_t must = 0, const Pairs &params = {}) {
    Request request;
    request->image = image.c_str();
    request->image_fd = image_fd == -2 ? fd.get() : image_fd;
    request->tag = tag.c_str();
    request->must = must;
    request->block_size = block_size;
    request.params(plugin->params(params)).properties({{"flat", "1"}});
    results.clear();
    return op(plugin->self(), request.get(), results.sink(), error.get());
  }
  std::int32_t attach(std::uint32_t must = 0, const Pairs &params = {}) {
    return call(plugin->driver().attach, must, params);
  }
  std::int32_t detach(std::uint32_t must = 0) { return call(plugin->driver().detach, must); }
  std::int32_t query() { return call(plugin->driver().query); }
  std::string node() const { return results.text("node"); }

  ScriptedHost host;
  std::string directory, image, tag;
  UniqueFd fd;
  int image_fd = -2;  ///< -2: our own
  std::uint32_t block_size = 0;
  std::unique_ptr<Plugin> plugin;
  Results results;
  ErrorBox error;
};

bool bound(const std::string &node) {
  return ::access(("/sys/block/" + node.substr(5) + "/loop").c_str(), F_OK) == 0;
}

/// Another loop device over `path`, made as anybody would.
struct Foreign {
  explicit Foreign(const std::string &path, bool read_only = false) {
    const UniqueFd file(::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    vbdkit::loop::Wanted wanted{file.get(), "somebody else", 512, read_only, false};
    REQUIRE(vbdkit::loop::attach(wanted, device, nullptr) == VBD_OK);
  }
  ~Foreign() {
    int flush_error = 0;
    vbdkit::loop::clear(device, flush_error, nullptr);
  }
  vbdkit::loop::Device device;
};

}  // namespace

TEST_CASE("attach, write, detach: the bytes are in the file and the node is gone") {
  NEED_LOOP("fd-loop attach");
  Bench bench;
  CHECK(bench.query() == VBD_OK);
  CHECK(bench.results.has("attached"));
  CHECK_FALSE(bench.results.flag("attached"));
  REQUIRE_MESSAGE(bench.attach() == VBD_OK, bench.error.text());
  const std::string node = bench.node();
  CHECK(node.starts_with("/dev/loop"));
  CHECK_FALSE(bench.results.flag("read_only"));
  CHECK(bench.results.number("block_size") == 512);
  CHECK(bench.results.has("direct_io"));
  {
    const UniqueFd out(::open(node.c_str(), O_WRONLY | O_CLOEXEC));
    CHECK(::pwrite(out.get(), "guest", 5, 4096) == 5);
  }
  CHECK(bench.query() == VBD_OK);
  CHECK(bench.results.flag("attached"));
  CHECK(bench.node() == node);
  CHECK_MESSAGE(bench.detach() == VBD_OK, bench.error.text());
  CHECK_FALSE(bound(node));
  char buf[6] = "";
  CHECK(::pread(bench.fd.get(), buf, 5, 4096) == 5);
  CHECK(std::string(buf) == "guest");
  CHECK(bench.detach() == VBD_OK);
}

TEST_CASE("attach again gives the same node; another mode is refused") {
  NEED_LOOP("fd-loop again");
  Bench bench;
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.node();
  CHECK(bench.attach() == VBD_OK);
  CHECK(bench.node() == node);
  CHECK(bench.attach(VBD_MUST_READONLY) == VBD_E_BUSY);
  CHECK(bench.error.text().find(node) != std::string::npos);
  CHECK(bench.detach() == VBD_OK);
}

TEST_CASE("the device keeps the locked open file, so the lock lives as long as it") {
  NEED_LOOP("fd-loop lock");
  Bench bench;
  struct flock lock = {};
  lock.l_type = F_RDLCK;
  lock.l_start = 101;
  lock.l_len = 1;
  REQUIRE(::fcntl(bench.fd.get(), F_OFD_SETLK, &lock) == 0);
  REQUIRE(bench.attach() == VBD_OK);
  bench.fd.reset();
  const auto locked = [&] {
    const UniqueFd other(::open(bench.image.c_str(), O_RDWR | O_CLOEXEC));
    struct flock probe = {};
    probe.l_type = F_WRLCK;
    probe.l_start = 101;
    probe.l_len = 1;
    REQUIRE(::fcntl(other.get(), F_OFD_GETLK, &probe) == 0);
    return probe.l_type != F_UNLCK;
  };
  CHECK(locked());
  bench.image_fd = -1;  // found by the path's inode
  CHECK_MESSAGE(bench.detach() == VBD_OK, bench.error.text());
  CHECK_FALSE(locked());
}

TEST_CASE("read-only, block size, direct I/O off") {
  NEED_LOOP("fd-loop options");
  Bench bench;
  bench.block_size = 4096;
  REQUIRE(bench.attach(VBD_MUST_READONLY, {{"direct_io", "false"}}) == VBD_OK);
  CHECK(bench.results.flag("read_only"));
  CHECK_FALSE(bench.results.flag("direct_io"));
  CHECK(bench.results.number("block_size") == 4096);
  const UniqueFd out(::open(bench.node().c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(::write(out.get(), "x", 1) < 0);
}

TEST_CASE("what can't be a device is refused before anything is made") {
  NEED_LOOP("fd-loop refusals");
  Bench odd(1000);
  CHECK(odd.attach() == VBD_E_INVAL);
  Bench bench;
  bench.block_size = 513;
  CHECK(bench.attach() == VBD_E_INVAL);
  bench.block_size = 0;
  const UniqueFd reader(::open(bench.image.c_str(), O_RDONLY | O_CLOEXEC));
  bench.image_fd = reader.get();
  CHECK(bench.attach() == VBD_E_PERM);
  bench.image_fd = -2;
  CHECK(bench.attach(1u << 30) == VBD_E_NOTSUP);
  CHECK(bench.attach(VBD_MUST_DRY_RUN) == VBD_OK);
  CHECK(bench.query() == VBD_OK);
  CHECK_FALSE(bench.results.flag("attached"));
}

TEST_CASE("somebody else's loop device on the image is named and never taken over") {
  NEED_LOOP("fd-loop foreign");
  Bench bench;
  {
    const Foreign other(bench.image);
    CHECK(bench.attach() == VBD_E_BUSY);
    CHECK(bench.error.text().find(other.device.node) != std::string::npos);
    CHECK(bench.attach(VBD_MUST_READONLY) == VBD_E_BUSY);
    CHECK(bench.detach() == VBD_OK);
    CHECK(bound(other.device.node));
  }
  const Foreign reader(bench.image, true);
  CHECK(bench.attach() == VBD_E_BUSY);
  CHECK(bench.attach(VBD_MUST_READONLY) == VBD_OK);
}

TEST_CASE("a hard link is the same file") {
  NEED_LOOP("fd-loop hard link");
  Bench bench;
  const std::string second = bench.directory + "/sdb";
  REQUIRE(::link(bench.image.c_str(), second.c_str()) == 0);
  {
    const Foreign other(second);
    CHECK(bench.attach() == VBD_E_BUSY);
  }
  ::unlink(second.c_str());
}

TEST_CASE("a busy detach is refused, not put off: an open descriptor") {
  NEED_LOOP("fd-loop busy open");
  Bench bench;
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.node();
  {
    const UniqueFd user(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    CHECK(bench.detach() == VBD_E_BUSY);
    CHECK(bench.error.text().find("process " + std::to_string(::getpid())) != std::string::npos);
    CHECK(bench.detach(VBD_MUST_DRY_RUN) == VBD_E_BUSY);
  }
  CHECK(bound(node));  // the last close did not clear it
  CHECK(bench.detach() == VBD_OK);
  CHECK_FALSE(bound(node));
}

TEST_CASE("a busy detach is refused: another loop device on the node, which no descriptor shows") {
  NEED_LOOP("fd-loop busy stacked");
  Bench bench;
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.node();
  {
    const Foreign above(node);
    CHECK(bench.detach() == VBD_E_BUSY);
    CHECK(bench.error.text().find(above.device.node) != std::string::npos);
  }
  CHECK(bound(node));
  CHECK(bench.detach() == VBD_OK);
}

TEST_CASE("a clear that the kernel put off is taken back") {
  NEED_LOOP("fd-loop deferred");
  Bench bench;
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.node();
  {
    const UniqueFd user(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd other(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(::ioctl(other.get(), LOOP_CLR_FD) == 0);  // somebody's losetup -d
    CHECK(bench.query() == VBD_OK);
    CHECK(bench.results.has("broken"));
    CHECK(bench.attach() == VBD_OK);  // ours again
    CHECK(bench.query() == VBD_OK);
    CHECK_FALSE(bench.results.has("broken"));
  }
  CHECK(bound(node));
  CHECK(bench.detach() == VBD_OK);
}

TEST_CASE("a busy detach is refused: a mount, named") {
  NEED_LOOP("fd-loop busy mount");
  Bench bench;
  VBD_REQUIRE_OR_SKIP(::access("/sbin/mkfs.ext4", X_OK) == 0, "fd-loop busy mount", "needs mkfs.ext4");
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/sbin/mkfs.ext4", "mkfs.ext4", "-q", "-F", bench.image.c_str(), nullptr);
    ::_exit(127);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  REQUIRE(status == 0);
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.node(), target = bench.directory + "/mount point";
  REQUIRE(::mkdir(target.c_str(), 0700) == 0);
  if (::mount(node.c_str(), target.c_str(), "ext4", MS_NOSUID | MS_NODEV, nullptr) == 0) {
    CHECK(bench.detach() == VBD_E_BUSY);
    CHECK(bench.error.text().find("mounted at " + target) != std::string::npos);
    CHECK(bound(node));
    ::umount(target.c_str());
  } else {
    std::fprintf(stderr, "SKIP fd-loop busy mount: mount is not permitted here\n");
  }
  ::rmdir(target.c_str());
  CHECK_MESSAGE(bench.detach() == VBD_OK, bench.error.text());
}

TEST_CASE("the image was replaced by a rename: the device is reported as broken, and detach still finds it") {
  NEED_LOOP("fd-loop renamed over");
  Bench bench;
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.node(), fresh = bench.directory + "/new";
  bench.fd = UniqueFd(::open(fresh.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::rename(fresh.c_str(), bench.image.c_str()) == 0);
  CHECK(bench.query() == VBD_OK);
  CHECK(bench.results.has("broken"));
  CHECK_FALSE(bench.results.flag("attached"));
  CHECK(bench.detach() == VBD_OK);
  CHECK_FALSE(bound(node));
}

TEST_CASE("refresh shows the new size") {
  NEED_LOOP("fd-loop refresh");
  Bench bench;
  REQUIRE(bench.attach() == VBD_OK);
  const std::string node = bench.node();
  REQUIRE(::ftruncate(bench.fd.get(), 16 << 20) == 0);
  CHECK(bench.call(bench.plugin->driver().refresh) == VBD_OK);
  CHECK(bench.results.number("size") == 16u << 20);
  CHECK(bench.detach() == VBD_OK);
  CHECK(bench.call(bench.plugin->driver().refresh) == VBD_E_NOENT);
}

TEST_CASE("shared storage without direct I/O: refused and undone, unless told so") {
  NEED_LOOP("fd-loop shared");
  // squashfs or an old tmpfs can't do O_DIRECT; here a loop over a 4096-byte device asked for 512 can't
  // either.
  Bench below(16 << 20);
  below.block_size = 4096;
  REQUIRE(below.attach(0, {{"direct_io", "false"}}) == VBD_OK);
  const std::string node = below.node();
  Bench bench;
  const UniqueFd disk(::open(node.c_str(), O_RDWR | O_CLOEXEC));
  bench.image_fd = disk.get();
  bench.image = node;
  CHECK(bench.attach(VBD_MUST_SHARED) == VBD_E_REFUSED);
  CHECK(bench.error.text().find("direct_io=false") != std::string::npos);
  CHECK(bench.query() == VBD_OK);
  CHECK_FALSE(bench.results.flag("attached"));
  CHECK(bench.attach(0) == VBD_OK);  // reported, not refused
  CHECK_FALSE(bench.results.flag("direct_io"));
  CHECK(bench.host.log().size() == 1);
  CHECK(bench.detach() == VBD_OK);
  CHECK(bench.attach(VBD_MUST_SHARED, {{"direct_io", "false"}}) == VBD_OK);
  CHECK(bench.detach() == VBD_OK);
  bench.image = bench.directory + "/sda";
}
