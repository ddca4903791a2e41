// SPDX-License-Identifier: MIT
// FD_BLKTAP with its back end qsd over a live host: real qemu-storage-daemon, FUSE and loop devices.
#pragma once

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "bench.hpp"
#include "live_host.hpp"
#include "plugins/xen-blktap/qsd_process.hpp"
#include "tests/support/skip.hpp"

namespace blktap_test {

inline bool have(const char *program) {
  for (const char *directory : {"/usr/bin/", "/usr/local/bin/"}) {
    if (::access((std::string(directory) + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}
inline bool can_qsd() {
  return ::geteuid() == 0 && ::access("/dev/fuse", R_OK | W_OK) == 0 &&
         ::access("/dev/loop-control", R_OK | W_OK) == 0 && have("qemu-storage-daemon") && have("qemu-img") &&
         have("qemu-io");
}
#define NEED_QSD(name)                 \
  VBD_REQUIRE_OR_SKIP(can_qsd(), name, \
                      "needs root, /dev/fuse, /dev/loop-control, qemu-storage-daemon, qemu-img and qemu-io")

inline const Pairs kBackendQsd = {{"backend", "qsd"}};

struct LiveBench {
  explicit LiveBench(const std::string &format = "qcow2", const std::string &name = "sda",
                     bool read_only = false)
      : qemu_format(format),
        tag("vbdkit-test:" + scratch.path.substr(scratch.path.size() - 6)),
        image(make_image(scratch.path + "/" + name, format)),
        host(scratch.path, read_only),
        caller(host.host(), image, {{"tap", format == "raw" ? "aio" : format}, {"qemu", format}}, tag) {
    host.lock_image(caller.fd.get());
  }
  ~LiveBench() {
    for (const vbdkit::loop::Device &device : loops()) {
      const UniqueFd node(::open(device.node.c_str(), O_RDONLY | O_CLOEXEC));
      ::ioctl(node.get(), LOOP_CLR_FD);
    }
    for (const blktap::QsdProcess &process : processes()) ::kill(static_cast<pid_t>(process.pid), SIGKILL);
    (void)blktap::remove_fuse_file(fuse());
    Scratch::remove_all(host.state_directory());
  }
  static std::string make_image(const std::string &path, const std::string &format) {
    REQUIRE(run_program({"qemu-img", "create", "-q", "-f", format, path, "16M"}) == 0);
    return path;
  }
  [[nodiscard]] std::string fuse() const { return host.state_directory() + "/disk.img"; }
  [[nodiscard]] std::vector<blktap::QsdProcess> processes() const { return blktap::find_qsd(fuse()); }
  [[nodiscard]] std::vector<vbdkit::loop::Device> loops() const {
    std::vector<vbdkit::loop::Device> mine;
    for (const vbdkit::loop::Device &device : vbdkit::loop::list()) {
      if (device.tag == tag || device.backing_path == fuse()) mine.push_back(device);
    }
    return mine;
  }
  /// Nothing of the attachment is there any more.
  [[nodiscard]] bool clean() const {
    return loops().empty() && processes().empty() && !blktap::is_mounted(fuse()) &&
           ::access(fuse().c_str(), F_OK) != 0 && !blktap::has_life(fuse()) && host.recorded().empty();
  }
  void write_at(const std::string &node, const std::string &text, off_t offset) {
    const UniqueFd fd(::open(node.c_str(), O_WRONLY | O_CLOEXEC));
    CHECK(::pwrite(fd.get(), text.data(), text.size(), offset) == static_cast<ssize_t>(text.size()));
  }
  std::int32_t attach(std::uint32_t must = 0) { return caller.attach(kBackendQsd, must); }
  std::int32_t detach(std::uint32_t must = 0) {
    const std::int32_t status = caller.detach(must);
    if (status == VBD_OK && must == 0) host.forget();
    return status;
  }

  Scratch scratch;
  std::string qemu_format, tag, image;
  LiveHost host;
  Caller caller;
};

}  // namespace blktap_test
