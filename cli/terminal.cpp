// SPDX-License-Identifier: MIT
#include "cli/terminal.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "core/base/text.hpp"

namespace vbd::cli {
namespace {

int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

bool is_set(const char *name) {
  const char *value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool is_dumb() {
  const char *term = std::getenv("TERM");
  return term == nullptr || std::string_view(term) == "dumb";
}

}  // namespace

void guard_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1) continue;
    // The lowest free number is this one, for those below are open by now.
    if (::open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd) std::_Exit(1);
  }
}

bool wants_color(std::string_view when, int fd) {
  if (when != "auto") return when == "always";
  return is_terminal(fd) && !is_set("NO_COLOR");
}

bool is_terminal(int fd) {
  return ::isatty(fd) == 1 && !is_dumb();
}

Result<void> write_stdout(std::string_view text) {
  if (text.empty()) return {};
  // Only for this write: helpers that are started must find SIGPIPE as it was.
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  const int error = write_all(STDOUT_FILENO, text);
  ::sigaction(SIGPIPE, &before, nullptr);
  if (error == EPIPE) return system_error(kNoReader, "write to stdout", error);
  if (error != 0) return system_error(kOutput, "write to stdout", error);
  return {};
}

void write_stderr(std::string_view text) {
  (void)write_all(STDERR_FILENO, text);
}

bool can_ask() {
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
}

bool ask(const std::string &question) {
  write_stderr(question);
  std::string answer;
  char c = 0;
  while (answer.size() < 16 && ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') answer += c;
  const std::string low = text::lower(answer);
  return low == "y" || low == "yes";
}

}  // namespace vbd::cli
