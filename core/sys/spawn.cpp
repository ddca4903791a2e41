// SPDX-License-Identifier: MIT
#include "core/sys/spawn.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <thread>

#include "core/base/text.hpp"
#include "core/sys/exec.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/proc.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// The program and its words, in a scope of its own where systemd runs (sd_booted(3) looks at the same
/// directory): the cgroup of the session or daemon that asked is killed with it, a scope is not. A scope and
/// not a service, for only then do the descriptors and the process id stay ours. Root's alone: others may not
/// ask the system's manager.
Result<std::vector<std::string>> words_of(const SpawnSpec &spec) {
  VBD_TRY_ASSIGN(const auto program, find_program(spec.argv[0]));
  std::vector<std::string> words = spec.argv;
  words[0] = program;
  const bool booted = ::access("/run/systemd/system", F_OK) == 0;
  if (spec.unit.empty() || !booted || ::geteuid() != 0) return words;
  const auto wrapper = find_program("systemd-run");
  if (!wrapper) return words;
  return scope_words(spec, *wrapper, words);
}

/// In the first child: a session of its own, then the program as a child of init, so that no zombie stays.
[[noreturn]] void become_daemon(ChildPlan &plan, int pid_end, int report_end) {
  ::setsid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::umask(077);
    if (::chdir("/") != 0) ::_exit(126);  // else its directory's filesystem stays busy
    plan.exec_in_child(report_end);
  }
  const ssize_t put = ::write(pid_end, &pid, sizeof pid);
  ::_exit(pid < 0 || put != sizeof pid ? 1 : 0);
}

Result<pid_t> fork_daemon(ChildPlan &plan, const std::string &program) {
  Result<Pipe> pids = make_pipe(), report = make_pipe();
  if (!pids) return pids.error();
  if (!report) return report.error();
  const pid_t first = ::fork();
  if (first < 0) return errno_error("start a helper", errno);
  if (first == 0) become_daemon(plan, pids->write.get(), report->write.get());
  pids->write.reset();
  report->write.reset();
  while (::waitpid(first, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_t pid = -1;
  while (::read(pids->read.get(), &pid, sizeof pid) < 0 && errno == EINTR) {
  }
  if (pid <= 0) return errno_error("start a helper", EAGAIN);
  if (const int failed = read_exec_error(report->read.get()); failed != 0) return exec_error(program, failed);
  return pid;
}

/// Between two requests to end. One may be lost: qemu-storage-daemon 7.2's handler only sets a flag, which
/// its main loop misses when the signal comes between its look and its poll.
constexpr milliseconds kAskAgain{100};

/// True when the process ended within `patience`.
bool wait_for_end(int pidfd, const Process &process, milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (process_alive(process)) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    if (pidfd < 0) {
      std::this_thread::sleep_for(std::min(left, milliseconds(10)));
      continue;
    }
    pollfd polled{pidfd, POLLIN, 0};
    ::poll(&polled, 1, static_cast<int>(std::min(left, milliseconds(60000)).count()));
  }
  return true;
}

/// Through the pidfd where there is one: a number may be another process's by now.
bool send_signal(int pidfd, const Process &process, int signal) {
  if (pidfd >= 0) return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 || errno == ESRCH;
  return ::kill(static_cast<pid_t>(process.pid), signal) == 0 || errno == ESRCH;
}

}  // namespace

std::vector<std::string> scope_words(const SpawnSpec &spec, const std::string &systemd_run,
                                     const std::vector<std::string> &words) {
  std::vector<std::string> wrapped{systemd_run, "--scope", "--quiet", "--collect", "--unit=" + spec.unit};
  if (spec.role == SpawnRole::guest) {
    wrapped.insert(wrapped.end(),
                   {"--property=After=vbdkit-disks.target", "--property=Before=vbdkit-guests.target"});
  } else {
    wrapped.emplace_back("--property=Before=vbdkit-disks.target");
  }
  wrapped.emplace_back("--");
  wrapped.insert(wrapped.end(), words.begin(), words.end());
  return wrapped;
}

Result<Fd> open_log(const std::string &path) {
  const bool null = path.empty();
  Fd fd(null ? ::open("/dev/null", O_WRONLY | O_CLOEXEC)
             : ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600));
  if (!fd) return errno_error(text::cat("open ", null ? "/dev/null" : text::printable(path)), errno);
  return fd;
}

Result<Process> spawn_process(const SpawnSpec &spec) {
  if (spec.argv.empty()) return Error{kHelperMissing, "an empty command names no program"};
  VBD_TRY_ASSIGN(const auto words, words_of(spec));
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null) return errno_error("open /dev/null", errno);
  const Result<Fd> log = open_log(spec.log_path);
  if (!log) return log.error();
  ChildPlan plan(words[0], words);
  plan.map(null.get(), 0);
  plan.map(log->get(), 1);
  plan.map(log->get(), 2);
  for (const FdMap &map : spec.fds) plan.map(map.parent_fd, map.child_fd);
  VBD_TRY_ASSIGN(const auto pid, fork_daemon(plan, words[0]));
  Process process;
  process.pid = pid;
  if (const auto state = process_state(pid)) process.start_time = state->start_time;
  return process;
}

bool process_alive(const Process &process) {
  if (process.pid <= 0) return false;
  const auto state = process_state(process.pid);
  return state && state->start_time == process.start_time && state->state != 'Z' && state->state != 'X';
}

Result<void> stop_process(const Process &process, milliseconds patience) {
  if (process.pid <= 0) return {};
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(process.pid), 0)));
  // Looked at after the pidfd is open: from here on it is this process that the signals reach.
  if (!process_alive(process)) return {};
  const std::string what = text::cat("stop process ", process.pid, " (", process_command(process.pid), ")");
  for (const auto deadline = Clock::now() + patience;;) {
    if (!send_signal(pidfd.get(), process, SIGTERM)) return errno_error(what, errno);
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (wait_for_end(pidfd.get(), process, std::min(left, kAskAgain))) return {};
    if (left <= kAskAgain) break;
  }
  if (!send_signal(pidfd.get(), process, SIGKILL)) return errno_error(what, errno);
  if (wait_for_end(pidfd.get(), process, std::chrono::seconds(10))) return {};
  return Error{kHelperTimeout, text::cat(what, ": still there after SIGKILL"),
               "it may wait for storage that hangs"};
}

}  // namespace vbd::sys
