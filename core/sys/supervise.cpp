// SPDX-License-Identifier: MIT
#include "core/sys/supervise.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>

namespace vbd::sys {
namespace {

constexpr int kStepMilliseconds = 50;
/// A script's own clean-up unmounts, which writes out all that it has written.
constexpr int kGraceSteps = 20 * 1000 / kStepMilliseconds;
constexpr int kRestSteps = 2 * 1000 / kStepMilliseconds;
constexpr int kKillSteps = 60 * 1000 / kStepMilliseconds;

struct Watched {
  pid_t pid = -1;
  bool ended = false;
  int status = 0;
};

/// All ended children; orphans come to us, for we are their subreaper. False when there are none left.
bool reap(Watched &watched) {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return pid == 0;
    if (pid != watched.pid) continue;
    watched.ended = true;
    watched.status = status;
  }
}

void close_between(unsigned first, unsigned last) {
  if (first > last) return;
  ::syscall(SYS_close_range, first, last, 0);
}

/// Pipes of the caller's other helpers must not stay open in here.
void close_others(int lifeline, const std::vector<int> &held) {
  unsigned first = 0;
  for (const int fd : held) {  // sorted; the lifeline among them
    if (fd < 0) continue;
    if (static_cast<unsigned>(fd) > first) close_between(first, static_cast<unsigned>(fd) - 1);
    first = static_cast<unsigned>(fd) + 1;
  }
  if (first <= static_cast<unsigned>(lifeline)) {
    close_between(first, static_cast<unsigned>(lifeline) - 1);
    first = static_cast<unsigned>(lifeline) + 1;
  }
  close_between(first, ~0U);
}

/// Mounts that the program makes are seen by it alone and go with it. Refused without root, and in some
/// containers: then its mounts are the host's.
void own_mounts() {
  if (::unshare(CLONE_NEWNS) == 0) ::mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr);
}

/// Everything below us that is still there, at most a page of it at a time; proc(5): "children".
void kill_children(int signal) {
  const int fd = ::open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char text[4096];
  const ssize_t length = ::read(fd, text, sizeof text);
  ::close(fd);
  pid_t pid = 0;
  for (ssize_t i = 0; i < length; ++i) {
    if (text[i] >= '0' && text[i] <= '9') {
      pid = pid * 10 + (text[i] - '0');
    } else {
      if (pid > 1) ::kill(pid, signal);
      pid = 0;
    }
  }
}

/// First the program's session by SIGTERM, so that its own clean-up runs; then, by and by as they become our
/// children, all.
void end_all(Watched &watched) {
  const timespec step{0, kStepMilliseconds * 1000000L};
  if (!watched.ended) {
    ::kill(-watched.pid, SIGTERM);
    ::kill(-watched.pid, SIGCONT);
  }
  for (int i = 0; i < kGraceSteps && !watched.ended; ++i) {
    if (!reap(watched)) return;
    ::nanosleep(&step, nullptr);
  }
  for (int i = 0; i < kKillSteps; ++i) {
    if (!watched.ended) ::kill(-watched.pid, SIGKILL);
    kill_children(SIGKILL);
    if (!reap(watched)) return;
    ::nanosleep(&step, nullptr);
  }
}

/// The program ended by itself: what it left running would keep its mounts, and so the disk, for ever.
void end_rest(Watched &watched) {
  const timespec step{0, kStepMilliseconds * 1000000L};
  for (int i = 0; reap(watched) && i < kKillSteps; ++i) {
    kill_children(i < kRestSteps ? SIGTERM : SIGKILL);
    ::nanosleep(&step, nullptr);
  }
}

[[noreturn]] void run_program(ChildPlan &plan, int report, pid_t supervisor) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != supervisor) ::_exit(126);
  plan.exec_in_child(report);
}

/// True when the program ended, false when the caller wants it ended or is gone.
bool wait_for_end(Watched &watched, int lifeline) {
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, watched.pid, 0));
  while (reap(watched) && !watched.ended) {
    pollfd polled[2] = {{lifeline, POLLIN, 0}, {pidfd, POLLIN, 0}};
    ::poll(polled, 2, pidfd < 0 ? kStepMilliseconds : 1000);
    if (polled[0].revents != 0) return false;
  }
  return true;
}

}  // namespace

void supervise_in_child(ChildPlan &plan, int report, int lifeline, const std::vector<int> &held) {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::setpgid(0, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  own_mounts();
  Watched watched;
  const pid_t own = ::getpid();
  watched.pid = ::fork();
  if (watched.pid == 0) run_program(plan, report, own);
  if (watched.pid < 0) {
    const int failed = errno;
    if (::write(report, &failed, sizeof failed) < 0) ::_exit(126);
    ::_exit(127);
  }
  close_others(lifeline, held);
  if (wait_for_end(watched, lifeline)) {
    end_rest(watched);
  } else {
    end_all(watched);
  }
  if (!watched.ended) ::_exit(128 + SIGKILL);
  ::_exit(WIFEXITED(watched.status) ? WEXITSTATUS(watched.status) : 128 + WTERMSIG(watched.status));
}

}  // namespace vbd::sys
