// SPDX-License-Identifier: MIT
#include "tools.hpp"

#include "configs.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

extern char **environ;

namespace qcow_test {

using namespace vbdkit::testkit;

Plugin &plugin() {
  static std::string error;
  static const std::unique_ptr<Plugin> made = Plugin::linked(vbd_plugin_v1(), error);
  if (made == nullptr) {
    std::fprintf(stderr, "plugin: %s\n", error.c_str());
    std::abort();
  }
  return *made;
}

Ran run(const std::vector<std::string> &argv) {
  std::vector<char *> args;
  for (const std::string &arg : argv) args.push_back(const_cast<char *>(arg.c_str()));
  args.push_back(nullptr);
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
  posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, args[0], &actions, nullptr, args.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pipes[1]);
  Ran ran;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(pipes[0], buffer, sizeof buffer)) > 0;)
    ran.out.append(buffer, static_cast<size_t>(n));
  close(pipes[0]);
  if (error != 0) return {127, {}};
  int status = 0;
  waitpid(pid, &status, 0);
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

bool have(const char *program) {
  return run({program, "--version"}).status == 0;
}

Scratch::Scratch() {
  std::string name = (std::filesystem::temp_directory_path() / "vbdkit-qcow-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) std::abort();
  directory_ = name;
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

DiskFile::DiskFile(const std::string &path, bool create, uint32_t flags)
    : fd_(open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0600)) {
  if (fd_ < 0) std::perror(path.c_str());
  file_ = std::make_unique<FdFile>(fd_, flags);
}

DiskFile::~DiskFile() {
  close(fd_);
}

Outcome call(Op op, const vbd_file *file, uint64_t bytes, uint32_t must, const Pairs &params) {
  const vbd_filetype_ops &ops = *filetype().ops;
  const vbd_op functions[] = {ops.probe, ops.info, ops.create, ops.resize, ops.check};
  Request request(file, bytes, must);
  request.params(plugin().params(params));
  Outcome outcome;
  outcome.results = std::make_shared<Results>();
  ErrorBox error;
  const vbd_op function = functions[static_cast<unsigned>(op)];
  if (function == nullptr) {
    outcome.status = VBD_E_NOTSUP;
    return outcome;
  }
  outcome.status = function(filetype().self, request.get(), outcome.results->sink(), error.get());
  if (outcome.status != VBD_OK) {
    outcome.reason = error.reason();
    outcome.message = error.text();
  }
  return outcome;
}

void save(const SparseBytes &bytes, const std::string &path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes.size())) != 0) std::abort();
  std::vector<char> buffer(1u << 20);
  for (uint64_t at = 0; at < bytes.size();) {
    bool hole = false;
    uint64_t length = bytes.extent(at, hole);
    if (!hole) {
      length = bytes.read(buffer.data(), std::min<uint64_t>(length, buffer.size()), at);
      if (pwrite(fd, buffer.data(), length, static_cast<off_t>(at)) != static_cast<ssize_t>(length))
        std::abort();
    }
    at += length;
  }
  close(fd);
}

SparseBytes load(const std::string &path) {
  SparseBytes bytes;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return bytes;
  const off_t size = lseek(fd, 0, SEEK_END);
  bytes.resize(static_cast<uint64_t>(size));
  std::vector<char> buffer(1u << 20);
  for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0 && at < size;) {
    const ssize_t n = pread(fd, buffer.data(), buffer.size(), at);
    if (n <= 0) break;
    bytes.write(buffer.data(), static_cast<uint64_t>(n), static_cast<uint64_t>(at));
    at += n;
  }
  close(fd);
  return bytes;
}

std::string qemu_check(const SparseBytes &bytes, bool version1, bool leaks_allowed) {
  if (version1) return "";  // qemu-img has no check for it
  const Scratch scratch;
  save(bytes, scratch.path("image"));
  const Ran ran = run({"qemu-img", "check", "-f", "qcow2", scratch.path("image")});
  const bool good = ran.status == 0 || (leaks_allowed && ran.status == 3);  // 3: leaks, qemu-img(1)
  return good ? "" : "qemu-img check: " + std::to_string(ran.status) + " " + ran.out;
}

}  // namespace qcow_test
