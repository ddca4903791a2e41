// SPDX-License-Identifier: MIT
// A host that really does it: starts processes in sessions of their own, keeps the record in files and the
// lock in the image's open file. It can end its own process before a given call, as a kill would. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <vbdkit/plugin.h>

namespace blktap_test {

class LiveHost {
 public:
  /// `directory`: the record lies in it, and state/ is the private directory of the driver.
  LiveHost(std::string directory, bool read_only = false);
  LiveHost(const LiveHost &) = delete;
  LiveHost &operator=(const LiveHost &) = delete;
  [[nodiscard]] const vbd_host *host() const { return &host_; }
  /// Takes the lock on this image, as before an attach.
  void lock_image(int fd);
  /// The process ends before its n-th call of a service (1: the first), with exit status 86.
  void kill_at(unsigned n) {
    calls_ = 0;
    kill_at_ = n;
  }
  /// What a host does after a detach.
  void forget();
  [[nodiscard]] std::string state_directory() const { return directory_ + "/state"; }
  [[nodiscard]] std::vector<std::string> log() const { return log_; }
  [[nodiscard]] bool locked() const { return locked_; }
  /// Keys that are recorded now.
  [[nodiscard]] std::vector<std::string> recorded() const;

 private:
  struct Functions;
  void step();
  [[nodiscard]] std::vector<int> bytes() const;

  std::string directory_, value_;
  bool read_only_, locked_ = false;
  int image_fd_ = -1;
  unsigned calls_ = 0, kill_at_ = 0;
  std::vector<std::string> log_;
  std::string private_directory_;
  vbd_ext_spawn spawn_;
  vbd_ext_state state_;
  vbd_ext_lock lock_;
  vbd_host host_;
};

/// Runs a program and returns its exit status (127: not there) and what it printed on both streams.
int run_program(const std::vector<std::string> &argv, std::string *output = nullptr);
[[nodiscard]] bool process_lives(std::int64_t pid, std::uint64_t start_time);

}  // namespace blktap_test
