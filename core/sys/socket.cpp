// SPDX-License-Identifier: MIT
#include "core/sys/socket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "core/base/text.hpp"

namespace vbd::sys {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kLongestLine = 1u << 20;

/// True when `fd` is ready for `events` before the deadline.
bool wait_ready(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    pollfd polled{fd, events, 0};
    const int ready = ::poll(&polled, 1, left.count() < 0 ? 0 : static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno == EINTR) continue;
    return false;
  }
}

Error timeout_error(const std::string &path, milliseconds patience) {
  return Error{kHelperTimeout,
               text::cat(text::printable(path), ": no answer within ", patience.count(), " ms")};
}

Error closed_error(const std::string &path) {
  return Error{kNotFound, text::cat(text::printable(path), ": the other side has closed the connection")};
}

}  // namespace

Result<LineSocket> LineSocket::connect(const std::string &path, milliseconds patience) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{kIo, text::cat(text::printable(path), ": longer than a socket's name can be (",
                                sizeof address.sun_path - 1, " bytes)")};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error("make a socket", errno);
  const Clock::time_point deadline = Clock::now() + patience;
  while (::connect(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) {
      return Error{kNotFound, text::cat(text::printable(path), ": nobody listens there")};
    }
    if (errno != EAGAIN && errno != EINTR) return errno_error("connect to " + text::printable(path), errno);
    if (Clock::now() >= deadline) return timeout_error(path, patience);
    std::this_thread::sleep_for(milliseconds(10));  // EAGAIN: its queue is full
  }
  return LineSocket(std::move(fd), path);
}

Result<void> LineSocket::write_line(std::string_view line, milliseconds patience) {
  const std::string whole = std::string(line) + "\n";
  const Clock::time_point deadline = Clock::now() + patience;
  for (std::size_t at = 0; at < whole.size();) {
    const ssize_t n = ::send(fd_.get(), whole.data() + at, whole.size() - at, MSG_NOSIGNAL);
    if (n > 0) {
      at += static_cast<std::size_t>(n);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return closed_error(path_);
    } else if (errno != EAGAIN && errno != EINTR) {
      return errno_error("write to " + text::printable(path_), errno);
    } else if (!wait_ready(fd_.get(), POLLOUT, deadline)) {
      return timeout_error(path_, patience);
    }
  }
  return {};
}

Result<std::string> LineSocket::read_line(milliseconds patience) {
  const Clock::time_point deadline = Clock::now() + patience;
  for (;;) {
    if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    if (buffer_.size() > kLongestLine) {
      return Error{kIo, text::cat(text::printable(path_), ": a line of more than 1 MiB")};
    }
    char block[4096];
    const ssize_t n = ::recv(fd_.get(), block, sizeof block, 0);
    if (n > 0) {
      buffer_.append(block, static_cast<std::size_t>(n));
    } else if (n == 0 || errno == ECONNRESET) {
      return closed_error(path_);
    } else if (errno != EAGAIN && errno != EINTR) {
      return errno_error("read from " + text::printable(path_), errno);
    } else if (!wait_ready(fd_.get(), POLLIN, deadline)) {
      return timeout_error(path_, patience);
    }
  }
}

}  // namespace vbd::sys
