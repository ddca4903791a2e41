// SPDX-License-Identifier: MIT
// What the tests of this room share: a directory that goes away, another process, a loop device that is
// cleared also when a check fails.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "core/sys/files.hpp"
#include "tests/support/skip.hpp"

namespace vbd::sys::test {

class Scratch {
 public:
  Scratch() {
    std::string name = std::filesystem::temp_directory_path() / "vbdkit-sys-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = std::filesystem::canonical(name);
    ::umask(022);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;

  [[nodiscard]] const std::string &path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string &name) const { return path_ + "/" + name; }
  [[nodiscard]] Fd open() const { return Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }
  std::string file(const std::string &name, std::string_view content = {}) const {
    const Fd fd(::open((*this / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    REQUIRE(fd);
    REQUIRE(::write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
    return *this / name;
  }
  std::string sparse_file(const std::string &name, off_t size) const {
    file(name);
    REQUIRE(::truncate((*this / name).c_str(), size) == 0);
    return *this / name;
  }
  std::string directory(const std::string &name, mode_t mode = 0755) const {
    REQUIRE(::mkdir((*this / name).c_str(), 0700) == 0);
    REQUIRE(::chmod((*this / name).c_str(), mode) == 0);
    return *this / name;
  }

 private:
  std::string path_;
};

/// Another process: does `work`, says that it is ready, then waits to be killed (or execs in `work`).
class OtherProcess {
 public:
  explicit OtherProcess(const std::function<bool()> &work) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      const char answer = work() ? 'y' : 'n';
      if (::write(ends[1], &answer, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char answer = 0;
    const ssize_t got = ::read(ends[0], &answer, 1);
    ::close(ends[0]);
    ready = got == 0 || answer == 'y';  // end of file: it went on to another program
  }
  ~OtherProcess() { kill(); }
  OtherProcess(const OtherProcess &) = delete;
  OtherProcess &operator=(const OtherProcess &) = delete;
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  bool ready = false;

 private:
  pid_t pid_ = -1;
};

/// True as soon as `condition` is, at most 5 s from now.
inline bool eventually(const std::function<bool()> &condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return condition();
}

/// A loop device over a file; node is "" when none could be made.
class TestLoop {
 public:
  explicit TestLoop(int image, const char *tag = "", std::uint32_t flags = 0) {
    for (int attempt = 0; attempt < 10 && node.empty(); ++attempt) {
      const Fd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
      const int number = control ? ::ioctl(control.get(), LOOP_CTL_GET_FREE) : -1;
      if (number < 0) return;
      const std::string name = "/dev/loop" + std::to_string(number);
      device.reset(::open(name.c_str(), O_RDWR | O_CLOEXEC));
      loop_config config{};
      config.fd = static_cast<std::uint32_t>(image);
      config.info.lo_flags = flags;
      std::strncpy(reinterpret_cast<char *>(config.info.lo_file_name), tag, LO_NAME_SIZE - 1);
      if (device && ::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) node = name;
    }
  }
  ~TestLoop() {
    if (node.empty()) return;
    device.reset(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    ::ioctl(device.get(), LOOP_CLR_FD, 0);
  }
  TestLoop(const TestLoop &) = delete;
  TestLoop &operator=(const TestLoop &) = delete;
  std::string node;
  Fd device;
};

inline bool have_loops() {
  return ::geteuid() == 0 && ::access("/dev/loop-control", R_OK | W_OK) == 0;
}

}  // namespace vbd::sys::test
