// SPDX-License-Identifier: MIT
// Disks for the tests of this room: real loop devices and mounts, cleared at the end whatever happened.
#pragma once

#include <doctest/doctest.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <algorithm>

#include "core/device/device.hpp"
#include "core/device/record.hpp"
#include "core/image/tests/bench.hpp"
#include "core/sys/host.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/usage.hpp"
#include "tests/support/skip.hpp"

namespace vbd::test {

class DeviceBench : public Bench {
 public:
  DeviceBench() { ok = ok && ::geteuid() == 0 && ::access("/dev/loop-control", W_OK) == 0; }
  ~DeviceBench() override {
    for (const std::string &mounted : mounts()) {
      if (!mounted.starts_with(settings.run_dir)) ::umount2(mounted.c_str(), 0);
    }
    give_up_all();
    for (const std::string &mounted : mounts()) ::umount2(mounted.c_str(), MNT_DETACH);
    const auto loops = sys::loop_devices();
    if (!loops) return;
    for (const auto &loop : *loops) {
      if (backed_here(loop)) clear(loop.node);
    }
  }

  [[nodiscard]] device::Context context() const { return {settings, *registry}; }
  [[nodiscard]] LogicalId id(const std::string &name, const char *driver = "FD_LOOP",
                             const char *filetype = "FT_RAW") const {
    return {constant(driver), constant(filetype), image(name)};
  }
  Result<device::Attachment> attach(const std::string &name, const std::string &holder = "cli",
                                    bool read_only = false) {
    device::AttachSpec spec{id(name), holder, read_only, {}, 512, false};
    return device::attach(context(), spec);
  }
  Result<void> detach(const std::string &name, const std::string &holder = "cli") {
    return device::detach(context(), id(name), holder);
  }
  [[nodiscard]] device::Status status(const std::string &name) const {
    auto result = device::query(context(), id(name));
    REQUIRE_MESSAGE(result.ok(), result.error().message());
    return *result;
  }
  /// Files below the run directory: none when nothing is attached.
  [[nodiscard]] std::vector<std::string> run_files() const { return files_below(settings.run_dir); }
  [[nodiscard]] std::size_t loops_of(const std::string &name) const {
    auto info = file_id(image(name));
    const auto loops = sys::loops_of(info);
    return loops ? loops->size() : 99;
  }
  [[nodiscard]] static sys::FileId file_id(const std::string &path) {
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    return {st.st_dev, st.st_ino};
  }
  static void clear(const std::string &node) {
    const sys::Fd fd(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd) ::ioctl(fd.get(), LOOP_CLR_FD, 0);
  }
  std::string make_ext4(const std::string &name) {
    make_raw(name, 16 << 20);
    REQUIRE(run({"mkfs.ext4", "-q", "-F", image(name)}) == 0);
    return image(name);
  }

 private:
  /// Whatever a failed test left attached, helper processes included.
  void give_up_all() const {
    const auto records = device::Records(settings.run_dir).all();
    if (!records) return;
    for (const device::Record &record : *records) {
      const LogicalId left{constant(record.driver.c_str()), constant(record.filetype.c_str()), record.image};
      for (const std::string &holder : record.holders) (void)device::detach(context(), left, holder).ok();
    }
  }
  [[nodiscard]] std::vector<std::string> mounts() const {
    std::vector<std::string> below;
    std::ifstream file("/proc/self/mounts");
    std::string source, target, rest;
    while (file >> source >> target && std::getline(file, rest)) {
      if (!root.empty() && target.starts_with(root)) below.push_back(target);
    }
    std::reverse(below.begin(), below.end());
    return below;
  }
  [[nodiscard]] bool backed_here(const sys::LoopDevice &loop) const {
    const std::string name = loop.node.substr(loop.node.rfind('/') + 1);
    return !root.empty() && slurp("/sys/block/" + name + "/loop/backing_file").starts_with(root);
  }
};

}  // namespace vbd::test

#define NEED_DEVICES(bench, name) \
  VBD_REQUIRE_OR_SKIP((bench).ok, name, "needs root, /dev/loop-control and a trusted directory")
