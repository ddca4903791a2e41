// SPDX-License-Identifier: MIT
// A host for the tests of drivers, without root and without helper programs: it plays back what helpers
// answer, and keeps a journal of all that the driver asked of it, in order. What was scripted and not used,
// or used and not scripted, is found by problems(). log may come from any thread, everything else from one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <vbdkit/plugin.h>

namespace vbdkit::testkit {

/// One helper program's run. An argv element "*" fits any word.
struct ScriptedRun {
  std::vector<std::string> argv;
  std::string out;  ///< its stdout
  std::int32_t exit_status = 0;
  std::int32_t status = VBD_OK;  ///< VBD_E_MISSING, VBD_E_TIMEOUT: exit_status is not looked at
  std::function<void()> effect;  ///< what it does to the world: makes the file that the driver will look for
};

class ScriptedHost {
 public:
  ScriptedHost();
  ScriptedHost(const ScriptedHost &) = delete;
  ScriptedHost &operator=(const ScriptedHost &) = delete;
  [[nodiscard]] const vbd_host *host() const { return &host_; }

  /// Helpers in the order in which they will be run.
  void expect_run(ScriptedRun run) { runs_.push_back(std::move(run)); }
  /// A program that will be started and live on, with its pid (start time: pid * 10).
  void expect_spawn(std::vector<std::string> argv, std::int64_t pid, std::int32_t status = VBD_OK,
                    std::function<void()> effect = {});
  /// An extension that this host does not have.
  void without(const std::string &extension) { missing_.push_back(extension); }
  /// The nth call of an extension from now on, and all later ones, answer VBD_E_INTERNAL: the driver is cut
  /// there.
  void cut_after(std::uint64_t calls) { calls_left_ = calls; }
  void no_cut() { calls_left_ = ~std::uint64_t{0}; }
  /// progress asks to stop from its nth call on (1: the first).
  void cancel_at(std::uint64_t nth) { cancel_at_ = nth; }

  std::map<std::string, std::string> state;  ///< vbd.state/1
  std::string state_directory = "/nonexistent";
  bool lock_held = true;                   ///< vbd.lock/1
  std::int64_t lock_holder = 0;            ///< who has it after release; 0: nobody, then held_by says NOENT
  std::map<std::int64_t, bool> processes;  ///< pid: lives

  /// "run losetup -f", "spawn PID qemu-storage-daemon ...", "stop PID", "state.put node=/dev/loop0",
  /// "state.forget node", "lock.release", ...
  [[nodiscard]] const std::vector<std::string> &journal() const { return journal_; }
  [[nodiscard]] std::vector<std::string> log() const;  ///< "warn: text"
  /// "" when everything scripted was used and nothing else asked for.
  [[nodiscard]] std::string problems() const;

 private:
  struct Functions;
  struct ScriptedSpawn {
    std::vector<std::string> argv;
    std::int64_t pid;
    std::int32_t status;
    std::function<void()> effect;
  };
  bool cut(std::string entry);
  std::int32_t run(vbd_run_args *args, vbd_error *err);
  std::int32_t spawn(vbd_spawn_args *args, vbd_error *err);

  std::deque<ScriptedRun> runs_;
  std::deque<ScriptedSpawn> spawns_;
  std::vector<std::string> missing_, journal_, log_, unexpected_;
  mutable std::mutex log_mutex_;
  std::uint64_t calls_left_ = ~std::uint64_t{0}, cancel_at_ = 0, progress_calls_ = 0;
  vbd_ext_run run_;
  vbd_ext_spawn spawn_;
  vbd_ext_state state_;
  vbd_ext_lock lock_;
  vbd_host host_;
};

}  // namespace vbdkit::testkit
