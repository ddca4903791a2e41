// SPDX-License-Identifier: MIT
#include "core/sys/bulk.hpp"
#include "core/sys/calls.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

namespace vbd::sys {
namespace {

constexpr int kPipeSize = 1 << 20;  // bytes; what an unprivileged process may ask for (pipe(7))

/// SIGPIPE is a thread's: held back for the time of a write, and taken away when it came from that.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    waited_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoPipeSignal(const NoPipeSignal &) = delete;
  NoPipeSignal &operator=(const NoPipeSignal &) = delete;
  ~NoPipeSignal() {
    const timespec now{};
    while (!waited_ && sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_{}, before_{};
  bool waited_ = false;
};

bool cannot(int error_number) {
  return error_number == EOPNOTSUPP || error_number == EXDEV || error_number == EINVAL ||
         error_number == ENOTTY || error_number == ENOSYS || error_number == EISDIR;
}

}  // namespace

Result<std::size_t> read_full(int fd, void *to, std::size_t length) {
  std::size_t done = 0;
  while (done < length) {
    const ssize_t n = ::read(fd, static_cast<char *>(to) + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("read", errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<bool> write_to_reader(int fd, const void *from, std::size_t length) {
  const NoPipeSignal quiet;
  std::size_t done = 0;
  while (done < length) {
    const ssize_t n = ::write(fd, static_cast<const char *>(from) + done, length - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) return false;
    if (n < 0) return errno_error("write", errno);
    done += static_cast<std::size_t>(n);
  }
  return true;
}

Result<void> write_full(int fd, const void *from, std::size_t length) {
  VBD_TRY_ASSIGN(auto all, write_to_reader(fd, from, length));
  return all ? Result<void>() : errno_error("write", EPIPE);
}

Result<void> write_at(int fd, const void *from, std::size_t length, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < length) {
    const ssize_t n = ::pwrite(fd, static_cast<const char *>(from) + done, length - done,
                               static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("write", errno);
    if (n == 0) return errno_error("write", EIO);
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Result<void> set_size(int fd, std::uint64_t bytes) {
  while (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) return errno_error("set the size", errno);
  }
  return {};
}

void start_writing(int fd, std::uint64_t offset, std::uint64_t length) {
  (void)::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE);
}

Result<bool> wait_readable(int fd, int other) {
  pollfd both[] = {{fd, POLLIN, 0}, {other, POLLIN, 0}};
  while (::poll(both, other < 0 ? 1 : 2, -1) < 0) {
    if (errno != EINTR) return errno_error("wait", errno);
  }
  return both[0].revents != 0;
}

Result<std::string> read_ready(int fd) {
  pollfd one{fd, POLLIN, 0};
  while (::poll(&one, 1, 0) < 0) {
    if (errno != EINTR) return errno_error("wait", errno);
  }
  if ((one.revents & POLLIN) == 0) return std::string();
  std::string text(4096, '\0');
  ssize_t n = 0;
  while ((n = ::read(fd, text.data(), text.size())) < 0) {
    if (errno != EINTR) return errno_error("read", errno);
  }
  text.resize(static_cast<std::size_t>(n));
  return text;
}

Result<Fd> either_readable(int a, int b) {
  Fd both(::epoll_create1(EPOLL_CLOEXEC));
  if (!both) return errno_error("wait for two", errno);
  for (const int fd : {a, b}) {
    epoll_event event{};
    event.events = EPOLLIN;  // the writer's end is always reported
    if (fd >= 0 && ::epoll_ctl(both.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return errno_error("wait for two", errno);
  }
  return both;
}

Result<DataRange> next_data(int fd, std::uint64_t offset) {
  const off_t size = ::lseek(fd, 0, SEEK_END);
  if (size < 0) return errno_error("look for data", errno);
  const DataRange none{static_cast<std::uint64_t>(size), static_cast<std::uint64_t>(size)};
  if (offset >= none.end) return none;
  const off_t begin = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (begin < 0 && errno == ENXIO) return none;
  if (begin < 0 && errno == EINVAL) return DataRange{offset, none.end};
  if (begin < 0) return errno_error("look for data", errno);
  const off_t end = ::lseek(fd, begin, SEEK_HOLE);
  if (end < 0) return errno_error("look for a hole", errno);
  return DataRange{static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end)};
}

Result<Fd> open_nameless(int directory) {
  Fd fd(::openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd && !cannot(errno)) return errno_error("make a file without a name", errno);
  return fd;
}

Result<bool> exchange_at(int directory, const std::string &a, const std::string &b) {
  if (calls().renameat2(directory, a.c_str(), directory, b.c_str(), RENAME_EXCHANGE) == 0) return true;
  if (cannot(errno)) return false;
  return errno_error("exchange two names", errno);
}

Result<BulkPipe> make_bulk_pipe() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error("make a pipe", errno);
  BulkPipe pipe{Fd(ends[0]), Fd(ends[1])};
  (void)::fcntl(pipe.write.get(), F_SETPIPE_SZ, kPipeSize);  // smaller works too
  return pipe;
}

}  // namespace vbd::sys
