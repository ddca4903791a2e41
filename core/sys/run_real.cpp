// SPDX-License-Identifier: MIT
// Running a helper to its end. Its stdin is a memory file, so that a helper that never reads can't block us;
// its end is seen through a pidfd, so that a daemon that it leaves behind with our pipes can't either.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/exec.hpp"
#include "core/sys/files.hpp"
#include "core/sys/spawn.hpp"
#include "core/sys/supervise.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kTailBytes = 4096, kTailLines = 20;
constexpr milliseconds kGrace{1000};  // between SIGTERM and SIGKILL

Result<Fd> stdin_of(const std::string &input) {
  if (input.empty()) {
    Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!null) return errno_error("open /dev/null", errno);
    return null;
  }
  Fd memory(::memfd_create("vbd-input", MFD_CLOEXEC));
  if (!memory) return errno_error("make a file in memory", errno);
  std::size_t done = 0;
  while (done < input.size()) {
    const ssize_t put =
        ::pwrite(memory.get(), input.data() + done, input.size() - done, static_cast<off_t>(done));
    if (put < 0 && errno != EINTR) return errno_error("write a file in memory", errno);
    if (put > 0) done += static_cast<std::size_t>(put);
  }
  return memory;
}

/// A running helper: its ends of the pipes, what it wrote so far.
struct Helper {
  pid_t pid = -1;
  Fd pidfd, output_end, error_end;
  Fd lifeline;  ///< of a supervised one: closing it ends it
  Fd log;
  std::uint64_t log_start = 0;  ///< what stood in the log before
  std::string output, errors;
  std::size_t output_limit = 0;
  bool reaped = false;
  int status = 0;
};

/// Reads what is there; closes at the end of the file.
void drain(Fd &end, std::string &into, std::size_t limit, bool keep_tail) {
  std::array<char, 16384> buffer;
  while (end) {
    const ssize_t got = ::read(end.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return end.reset();
    std::string_view piece(buffer.data(), static_cast<std::size_t>(got));
    if (!keep_tail) {
      into += piece.substr(0, limit - std::min(limit, into.size()));
      continue;
    }
    into += piece;
    if (into.size() > 2 * limit) into.erase(0, into.size() - limit);
  }
}

void drain_both(Helper &helper) {
  drain(helper.output_end, helper.output, helper.output_limit, false);
  drain(helper.error_end, helper.errors, kTailBytes, true);
}

bool reap(Helper &helper) {
  if (helper.reaped) return true;
  pid_t got = 0;
  while ((got = ::waitpid(helper.pid, &helper.status, WNOHANG)) < 0 && errno == EINTR) {
  }
  // ECHILD: the program that holds us ignores SIGCHLD; its status is lost, its end is not.
  if (got < 0) helper.status = 0;
  helper.reaped = got != 0;
  return helper.reaped;
}

enum class Wait { ended, late, cancelled };

/// Until the helper ended; its output is read all the while. `cancel`: a descriptor, or -1.
Wait wait_until(Helper &helper, Clock::time_point deadline, int cancel = -1) {
  while (!reap(helper)) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return Wait::late;
    // Without a pidfd (Linux before 5.3) the end is looked for every 10 ms.
    const auto most = helper.pidfd ? milliseconds(60000) : milliseconds(10);
    std::array<pollfd, 4> polled{{{helper.pidfd.get(), POLLIN, 0},
                                  {helper.output_end.get(), POLLIN, 0},
                                  {helper.error_end.get(), POLLIN, 0},
                                  {cancel, POLLIN, 0}}};  // negative numbers are skipped
    ::poll(polled.data(), polled.size(), static_cast<int>(std::min(left, most).count()));
    drain_both(helper);
    if (polled.back().revents != 0) return Wait::cancelled;
  }
  drain_both(helper);
  return Wait::ended;
}

/// At most 20 lines and 4 KiB of what came last, printable.
std::string last_lines(std::string_view errors) {
  if (errors.size() > kTailBytes) errors.remove_prefix(errors.size() - kTailBytes);
  while (!errors.empty() && (errors.back() == '\n' || errors.back() == ' ')) errors.remove_suffix(1);
  std::vector<std::string> lines = text::split(errors, '\n');
  if (lines.size() > kTailLines)
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(kTailLines));
  for (std::string &line : lines) {
    while (line.ends_with('\r')) line.pop_back();
    line = text::printable(line);
  }
  return text::join(lines, "\n");
}

/// The end of what this run put into its log.
std::string end_of_log(const Helper &helper) {
  const auto info = file_info(helper.log.get());
  if (!info || info->size <= helper.log_start) return {};
  const std::uint64_t from =
      std::max(helper.log_start, info->size - std::min<std::uint64_t>(info->size, kTailBytes));
  std::string tail(info->size - from, '\0');
  const auto got = read_at(helper.log.get(), tail.data(), tail.size(), from);
  if (!got) return {};
  tail.resize(*got);
  return tail;
}

Result<void> open_log_of(const RunSpec &spec, Helper &helper) {
  if (spec.log_path.empty()) return {};
  VBD_TRY_ASSIGN(auto log, open_log(spec.log_path));
  helper.log = std::move(log);
  VBD_TRY_ASSIGN(const auto info, file_info(helper.log.get()));
  helper.log_start = info.size;
  return {};
}

[[noreturn]] void helper_in_child(ChildPlan &plan, pid_t parent, int report) {
  ::setpgid(0, 0);
  // Our thread waits for the helper, so its death is ours: a killed vbd leaves no helper at work.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(126);
  plan.exec_in_child(report);
}

/// Descriptors, environment and directory.
void equip(ChildPlan &plan, const RunSpec &spec, const Helper &helper, int input, int output, int errors) {
  plan.map(input, 0);
  plan.map(helper.log ? helper.log.get() : output, 1);
  plan.map(helper.log ? helper.log.get() : errors, 2);
  for (const FdMap &map : spec.fds) plan.map(map.parent_fd, map.child_fd);
  if (!spec.environment.empty()) plan.set_environment(spec.environment);
  plan.set_directory(spec.directory);
}

Result<Helper> start(const RunSpec &spec, const std::string &program) {
  Helper helper;
  VBD_TRY(open_log_of(spec, helper));
  Result<Fd> input = stdin_of(spec.input);
  Result<Pipe> output = make_pipe(), errors = make_pipe(), report = make_pipe(), lifeline = make_pipe();
  if (!input) return input.error();
  for (const Result<Pipe> *pipe : {&output, &errors, &report, &lifeline}) {
    if (!*pipe) return pipe->error();
  }
  ChildPlan plan(program, spec.argv);
  equip(plan, spec, helper, input->get(), output->write.get(), errors->write.get());
  std::vector<int> held = spec.held;
  held.push_back(lifeline->read.get());
  std::sort(held.begin(), held.end());
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid < 0) return errno_error("start a helper", errno);
  if (pid == 0) {
    if (spec.supervised) supervise_in_child(plan, report->write.get(), lifeline->read.get(), held);
    helper_in_child(plan, parent, report->write.get());
  }
  ::setpgid(pid, pid);
  report->write.reset();
  helper.pid = pid;
  helper.output_limit = spec.output_limit;
  if (spec.supervised) helper.lifeline = std::move(lifeline->write);
  if (const int failed = read_exec_error(report->read.get()); failed != 0) {
    ::waitpid(pid, nullptr, 0);
    return exec_error(program, failed);
  }
  helper.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  helper.output_end = std::move(output->read);
  helper.error_end = std::move(errors->read);
  for (const Fd *end : {&helper.output_end, &helper.error_end}) ::fcntl(end->get(), F_SETFL, O_NONBLOCK);
  return helper;
}

/// With its whole process group. The group can't be another's: its leader is not reaped yet.
void end_group(Helper &helper) {
  if (helper.lifeline) {
    helper.lifeline.reset();  // its supervisor does the rest
  } else {
    ::kill(-helper.pid, SIGTERM);
    if (wait_until(helper, Clock::now() + kGrace) == Wait::ended) return;
    ::kill(-helper.pid, SIGKILL);
  }
  while (wait_until(helper, Clock::now() + std::chrono::hours(1)) != Wait::ended) {
  }
}

class RealRunner : public Runner {
 public:
  Result<RunResult> run(const RunSpec &spec) override {
    if (spec.argv.empty()) return Error{kHelperMissing, "an empty command names no program"};
    VBD_TRY_ASSIGN(const auto program, find_program(spec.argv[0]));
    if (log::enabled(log::Level::debug)) log::debug("run " + text::join(spec.argv, " "));
    Result<Helper> helper = start(spec, program);
    if (!helper) return helper.error();
    const bool forever = spec.timeout.count() == 0;
    const Wait wait =
        wait_until(*helper, forever ? Clock::time_point::max() : Clock::now() + spec.timeout, spec.cancel);
    if (wait != Wait::ended) end_group(*helper);
    if (helper->log) helper->errors = end_of_log(*helper);
    if (wait != Wait::ended) return ended_error(spec, wait, last_lines(helper->errors));
    RunResult result;
    const int status = helper->status;
    result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result.output = std::move(helper->output);
    result.last_lines = last_lines(helper->errors);
    return result;
  }

  Result<Process> spawn(const SpawnSpec &spec) override { return spawn_process(spec); }
  bool alive(const Process &process) override { return process_alive(process); }
  Result<void> stop(const Process &process, milliseconds patience) override {
    return stop_process(process, patience);
  }

 private:
  static Error ended_error(const RunSpec &spec, Wait why, const std::string &lines) {
    const bool late = why == Wait::late;
    std::string message = text::cat(text::printable(spec.argv[0]), ": ");
    message += late ? text::cat("not done within ", spec.timeout.count(), " ms, ended")
                    : std::string("ended, for vbd was interrupted");
    if (!lines.empty()) message += ": " + text::join(text::split(lines, '\n'), "; ");
    return {late ? kHelperTimeout : kHelperCancelled, std::move(message)};
  }
};

}  // namespace

std::unique_ptr<Runner> make_real_runner() {
  return std::make_unique<RealRunner>();
}

Result<RunResult> run_checked(Runner &runner, const RunSpec &spec) {
  Result<RunResult> result = runner.run(spec);
  if (!result || result->exit_status == 0) return result;
  const std::string name = spec.argv.empty() ? "" : text::printable(base_name(spec.argv[0]));
  std::string message = result->exit_status > 128
                            ? text::cat(name, ": ended by signal ", result->exit_status - 128)
                            : text::cat(name, ": exit status ", result->exit_status);
  if (!result->last_lines.empty()) message += ": " + text::join(text::split(result->last_lines, '\n'), "; ");
  return Error{kHelperFailed, std::move(message)};
}

}  // namespace vbd::sys
