// SPDX-License-Identifier: MIT
#include "core/sys/exec.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "core/base/text.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {
namespace {

// Nothing of the caller's environment: a helper acts for root, whoever called.
constexpr const char *kPathVariable = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static_assert(std::string_view(kPathVariable).substr(5) == kHelperPath);
constexpr std::array<const char *, 4> kEnvironment{kPathVariable, "LC_ALL=C", "LANG=C", nullptr};

bool is_program(const std::string &path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

void default_signals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// CLOSE_RANGE_CLOEXEC came with Linux 5.11.
void close_all_at_exec(int first) {
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0u, CLOSE_RANGE_CLOEXEC) == 0) return;
  const long limit = std::min(::sysconf(_SC_OPEN_MAX), 65536L);
  for (int fd = first; fd < limit; ++fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

[[noreturn]] void fail(int report, int error_number) {
  if (::write(report, &error_number, sizeof error_number) < 0) ::_exit(126);
  ::_exit(127);
}

}  // namespace

Result<std::string> find_program(const std::string &name) {
  if (name.starts_with('/')) {
    if (is_program(name)) return name;
    return Error{kHelperMissing, text::cat(text::printable(name), ": there is no such program")};
  }
  if (!name.empty() && name.find('/') == std::string::npos) {
    for (const std::string &directory : text::split(kHelperPath, ':')) {
      std::string path = text::cat(directory, "/", name);
      if (is_program(path)) return path;
    }
  }
  return Error{
      kHelperMissing,
      text::cat(text::printable(name), ": the program is not installed (looked in ", kHelperPath, ")"),
      text::cat("install the package that holds ", text::printable(name))};
}

ChildPlan::ChildPlan(std::string program, const std::vector<std::string> &argv)
    : program_(std::move(program)), words_(argv) {
  for (std::string &word : words_) argv_.push_back(word.data());
  argv_.push_back(nullptr);
}

void ChildPlan::set_environment(const std::vector<std::string> &environment) {
  variables_ = environment;
  for (std::string &variable : variables_) environment_.push_back(variable.data());
  environment_.push_back(nullptr);
}

/// Sources first move above every target, so that no target overwrites a source that is still needed.
void ChildPlan::place_descriptors(int &report) {
  int highest = 2;
  for (const FdMap &map : maps_) highest = std::max(highest, map.child_fd);
  const int moved = ::fcntl(report, F_DUPFD_CLOEXEC, highest + 1);
  if (moved < 0) fail(report, errno);
  report = moved;
  for (FdMap &map : maps_) {
    map.parent_fd = ::fcntl(map.parent_fd, F_DUPFD_CLOEXEC, highest + 1);
    if (map.parent_fd < 0) fail(report, errno);
  }
  close_all_at_exec(0);
  for (const FdMap &map : maps_) {
    if (::dup2(map.parent_fd, map.child_fd) < 0) fail(report, errno);  // dup2 leaves close-on-exec off
  }
}

void ChildPlan::exec_in_child(int report) {
  default_signals();
  place_descriptors(report);
  if (!directory_.empty() && ::chdir(directory_.c_str()) != 0) fail(report, errno);
  ::execve(program_.c_str(), argv_.data(),
           environment_.empty() ? const_cast<char *const *>(kEnvironment.data()) : environment_.data());
  fail(report, errno);
}

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("make a pipe", errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

int read_exec_error(int report) {
  int error_number = 0;
  for (;;) {
    const ssize_t got = ::read(report, &error_number, sizeof error_number);
    if (got < 0 && errno == EINTR) continue;
    return got == sizeof error_number ? error_number : 0;
  }
}

Error exec_error(const std::string &program, int error_number) {
  const std::string what = text::cat("run ", text::printable(program));
  if (error_number == ENOENT)
    return {kHelperMissing, text::cat(what, ": it, or its interpreter, is missing")};
  return errno_error(what, error_number);
}

}  // namespace vbd::sys
