// SPDX-License-Identifier: MIT
// Helper programs: argument vectors, a clean environment, a time-out; never a shell. One interface, three
// implementations: the real one, one that records what the real one did, one that plays a record back and
// fails on anything not in it. [call-thread]
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"

namespace vbd::sys {

struct FdMap {
  int parent_fd;
  int child_fd;
};

struct RunSpec {
  std::vector<std::string> argv;             ///< argv[0]: bare name, found in kHelperPath
  std::string input;                         ///< given on stdin; empty: /dev/null
  std::chrono::milliseconds timeout{60000};  ///< 0: none
  std::vector<FdMap> fds;                    ///< 0 and 1 too: instead of `input` and `output`
  std::size_t output_limit = 1u << 20;       ///< of stdout; the rest is read and dropped

  std::string directory;                 ///< its working directory; "" the caller's
  std::vector<std::string> environment;  ///< "NAME=VALUE", all that it gets; empty: kHelperPath, LC_ALL=C
  /// Its stderr, and its stdout unless mapped, are appended to this file; last_lines are the file's. "" none.
  std::string log_path;
  /// In a session and (as root) a mount namespace of its own, without a terminal; ended with everything that
  /// it started and mounted, at a time-out, a cancellation, and also when vbd itself is killed. For scripts.
  bool supervised = false;
  std::vector<int> held;  ///< supervised: stay open until all of it is gone, so that their locks do
  int cancel = -1;        ///< when it becomes readable, the helper is ended: kHelperCancelled
};
struct RunResult {
  int exit_status = 0;     ///< 0..255, or 128 + signal
  std::string output;      ///< stdout
  std::string last_lines;  ///< of stderr (at most 20 lines, 4 KiB), printable
};

/// When the host goes down: guests end before the servers of their disks, and both only after
/// vbdkit-instances.service, which shuts guests down in order, has stopped (packaging/).
enum class SpawnRole { server, guest };
struct SpawnSpec {
  std::vector<std::string> argv;
  std::vector<FdMap> fds;
  std::string unit;  ///< name of the systemd unit where systemd runs
  SpawnRole role = SpawnRole::server;
  std::string log_path;  ///< its stdout and stderr; empty: /dev/null
};
struct Process {
  std::int64_t pid = 0;
  std::uint64_t start_time = 0;  ///< /proc/PID/stat field 22
};

inline constexpr const char *kHelperPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

class Runner {
 public:
  virtual ~Runner() = default;
  /// kHelperMissing, kHelperTimeout, kHelperCancelled; a non-zero exit is a result, not an error.
  [[nodiscard]] virtual Result<RunResult> run(const RunSpec &spec) = 0;
  /// Own session, no inherited stdio; in a transient systemd unit where /run/systemd/system exists.
  [[nodiscard]] virtual Result<Process> spawn(const SpawnSpec &spec) = 0;
  [[nodiscard]] virtual bool alive(const Process &process) = 0;
  /// SIGTERM, again every 100 ms, then SIGKILL; returns when it is gone.
  [[nodiscard]] virtual Result<void> stop(const Process &process, std::chrono::milliseconds patience) = 0;
};

[[nodiscard]] std::unique_ptr<Runner> make_real_runner();
/// Passes on to `inner` and appends each exchange to the file `path`, as lines of escaped words;
/// run_record.cpp describes them.
[[nodiscard]] std::unique_ptr<Runner> make_recording_runner(std::unique_ptr<Runner> inner, std::string path);
/// Answers in the recorded order; anything else, and anything left over at `finish`, is kPlayback.
class PlaybackRunner : public Runner {
 public:
  [[nodiscard]] virtual Result<void> finish() = 0;
};
/// `record` is the text of a record, not its path.
[[nodiscard]] Result<std::unique_ptr<PlaybackRunner>> make_playback_runner(const std::string &record);

/// Runs and turns a non-zero exit into kHelperFailed with the helper's last lines.
[[nodiscard]] Result<RunResult> run_checked(Runner &runner, const RunSpec &spec);

}  // namespace vbd::sys
