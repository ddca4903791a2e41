// SPDX-License-Identifier: MIT
#include "live_host.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include <vbdkit/plugin.hpp>

namespace blktap_test {
namespace {

std::vector<char *> pointers(const std::vector<std::string> &argv) {
  std::vector<char *> list;
  for (const std::string &word : argv) list.push_back(const_cast<char *>(word.c_str()));
  list.push_back(nullptr);
  return list;
}

std::uint64_t start_time_of(std::int64_t pid, char &state) {
  const std::string text = vbdkit::detail::read_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return 0;
  const std::string rest = text.substr(end + 1);
  state = rest.size() > 1 ? rest[1] : '?';
  return std::strtoull(std::string(vbdkit::detail::word(rest, 19)).c_str(), nullptr, 10);
}

/// In a session of its own, and no child of ours; its output goes to `log`. -1: it could not be started.
std::int64_t start_program(const std::vector<std::string> &argv, const std::string &log,
                           const vbd_spawn_args &args) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
  const pid_t middle = ::fork();
  if (middle == 0) {
    ::setsid();
    const pid_t child = ::fork();
    if (child == 0) {
      const int null = ::open("/dev/null", O_RDWR);
      const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(null, 0);
      ::dup2(out, 1);
      ::dup2(out, 2);
      ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
      ::usleep(args.n_fds > 0 ? 20000 : 0);  // time for a killed host to be looked after by the next one
      int aside[4] = {-1, -1, -1, -1};
      for (std::uint32_t i = 0; i < args.n_fds && i < 4; ++i)
        aside[i] = ::fcntl(args.fds[i].parent_fd, F_DUPFD_CLOEXEC, 100);
      for (std::uint32_t i = 0; i < args.n_fds && i < 4; ++i) ::dup2(aside[i], args.fds[i].child_fd);
      ::execvp(argv[0].c_str(), pointers(argv).data());
      ::_exit(127);
    }
    const std::int64_t pid = child;
    (void)!::write(ends[1], &pid, sizeof pid);
    ::_exit(0);
  }
  ::close(ends[1]);
  std::int64_t pid = -1;
  if (::read(ends[0], &pid, sizeof pid) != sizeof pid) pid = -1;
  ::close(ends[0]);
  ::waitpid(middle, nullptr, 0);
  return pid;
}

}  // namespace

bool process_lives(std::int64_t pid, std::uint64_t start_time) {
  char state = 'Z';
  return pid > 0 && start_time_of(pid, state) == start_time && state != 'Z';
}

int run_program(const std::vector<std::string> &argv, std::string *output) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return 127;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 1);
    ::dup2(ends[1], 2);
    ::execvp(argv[0].c_str(), pointers(argv).data());
    ::_exit(127);
  }
  ::close(ends[1]);
  char buf[4096];
  for (ssize_t n = 0; (n = ::read(ends[0], buf, sizeof buf)) > 0;) {
    if (output != nullptr) output->append(buf, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct LiveHost::Functions {
  static LiveHost &self(void *ctx) { return *static_cast<LiveHost *>(ctx); }

  static void log(void *ctx, std::uint32_t, const char *text) noexcept { self(ctx).log_.emplace_back(text); }
  static std::int32_t progress(void *, std::uint64_t, std::uint64_t) noexcept { return 0; }
  static const void *get_extension(void *ctx, const char *id) noexcept {
    if (std::strcmp(id, VBD_EXT_SPAWN) == 0) return &self(ctx).spawn_;
    if (std::strcmp(id, VBD_EXT_STATE) == 0) return &self(ctx).state_;
    if (std::strcmp(id, VBD_EXT_LOCK) == 0) return &self(ctx).lock_;
    return nullptr;
  }

  static std::int32_t spawn(void *ctx, vbd_spawn_args *args, vbd_error *err) noexcept {
    self(ctx).step();
    std::vector<std::string> argv;
    for (const char *const *word = args->argv; *word != nullptr; ++word) argv.emplace_back(*word);
    if (argv[0] == "vbdkit-flush") argv[0] = VBD_FLUSH;  // vbd looks beside the plugin
    args->pid = start_program(argv, self(ctx).state_directory() + "/" + args->unit + ".log", *args);
    if (args->pid < 0)
      return vbdkit::fail(err, VBD_E_IO, nullptr, 0, "%s could not be started", argv[0].c_str());
    char state = '?';
    args->start_time = start_time_of(args->pid, state);
    return VBD_OK;
  }
  static std::int32_t alive(void *, std::int64_t pid, std::uint64_t start_time) noexcept {
    return process_lives(pid, start_time) ? VBD_OK : VBD_E_NOENT;
  }
  static std::int32_t stop(void *ctx, std::int64_t pid, std::uint64_t start_time, std::uint32_t timeout_ms,
                           vbd_error *err) noexcept {
    self(ctx).step();
    for (std::uint32_t waited = 0; process_lives(pid, start_time); waited += 10) {
      if (waited % 100 == 0) ::kill(static_cast<pid_t>(pid), SIGTERM);  // as vbd: one may be lost
      if (waited >= timeout_ms) return vbdkit::fail(err, VBD_E_TIMEOUT, nullptr, 0, "it does not stop");
      vbdkit::loop::pause_ms(10);
    }
    return VBD_OK;
  }

  static std::int32_t put(void *ctx, const char *key, const char *value, vbd_error *err) noexcept {
    self(ctx).step();
    const std::string path = self(ctx).directory_ + "/record." + key;
    if (value == nullptr)
      return ::unlink(path.c_str()) == 0 || errno == ENOENT ? VBD_OK : vbdkit::fail_errno(err, errno, key);
    const vbdkit::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const auto size = static_cast<ssize_t>(std::strlen(value));
    return fd && ::write(fd.get(), value, std::strlen(value)) == size ? VBD_OK
                                                                      : vbdkit::fail_errno(err, errno, key);
  }
  static const char *get(void *ctx, const char *key) noexcept {
    self(ctx).value_ = vbdkit::detail::read_text(self(ctx).directory_ + "/record." + key);
    return self(ctx).value_.empty() ? nullptr : self(ctx).value_.c_str();
  }
  static const char *directory(void *ctx) noexcept { return self(ctx).private_directory_.c_str(); }

  static std::int32_t set_lock(LiveHost &host, short type) {
    for (const int byte : host.bytes()) {
      struct flock lock = {};
      lock.l_type = type;
      lock.l_start = byte;
      lock.l_len = 1;
      if (::fcntl(host.image_fd_, F_OFD_SETLK, &lock) != 0) return VBD_E_IO;
    }
    host.locked_ = type != F_UNLCK;
    return VBD_OK;
  }
  static std::int32_t release(void *ctx, vbd_error *) noexcept {
    self(ctx).step();
    return set_lock(self(ctx), F_UNLCK);
  }
  static std::int32_t restore(void *ctx, vbd_error *) noexcept {
    self(ctx).step();
    return set_lock(self(ctx), F_RDLCK);
  }
  static std::int32_t held_by(void *ctx, std::int64_t pid, vbd_error *) noexcept {
    self(ctx).step();
    struct stat st = {};
    ::fstat(self(ctx).image_fd_, &st);
    const std::string inode = ":" + std::to_string(st.st_ino) + " 201 201";
    const std::string directory = "/proc/" + std::to_string(pid) + "/fdinfo";
    for (const std::string &fd : vbdkit::detail::names_in(directory)) {
      if (vbdkit::detail::read_text(directory + "/" + fd).find(inode) != std::string::npos) return VBD_OK;
    }
    return VBD_E_NOENT;
  }
};

LiveHost::LiveHost(std::string directory, bool read_only)
    : directory_(std::move(directory)),
      read_only_(read_only),
      private_directory_(state_directory()),
      spawn_{sizeof spawn_, 0, Functions::spawn, Functions::alive, Functions::stop},
      state_{sizeof state_, 0, Functions::put, Functions::get, Functions::directory},
      lock_{sizeof lock_, 0, Functions::release, Functions::held_by, Functions::restore},
      host_{sizeof host_,   VBD_ABI_MAJOR,       VBD_ABI_MINOR,           this,
            Functions::log, Functions::progress, Functions::get_extension} {
  ::mkdir(private_directory_.c_str(), 0700);
}

/// QEMU's bytes (block/file-posix.c): uses read, write, resize; shares neither write nor resize.
std::vector<int> LiveHost::bytes() const {
  return read_only_ ? std::vector<int>{100, 201, 203} : std::vector<int>{100, 101, 103, 201, 203};
}

void LiveHost::lock_image(int fd) {
  image_fd_ = fd;
  Functions::set_lock(*this, F_RDLCK);
}

void LiveHost::forget() {
  for (const std::string &key : recorded()) ::unlink((directory_ + "/record." + key).c_str());
}

void LiveHost::step() {
  if (++calls_ == kill_at_) ::_exit(86);
}

std::vector<std::string> LiveHost::recorded() const {
  std::vector<std::string> keys;
  for (const std::string &name : vbdkit::detail::names_in(directory_)) {
    if (name.starts_with("record.")) keys.push_back(name.substr(7));
  }
  return keys;
}

}  // namespace blktap_test
