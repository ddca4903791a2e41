// SPDX-License-Identifier: MIT
// Loop devices by what is behind them. Only LOOP_GET_STATUS64 tells device and inode (names go stale with
// hard links and renames elsewhere), and it asks the backing file's filesystem (drivers/block/loop.c,
// loop_get_status), which may hang for ever. So the names of sysfs come first: a device is asked only when
// its file may lie on a filesystem that is being looked for, and in a child that can be abandoned. Part of
// plugin.hpp: header only, needs nothing but libc. Safe with threads and other processes.
#pragma once

#include <linux/fs.h>
#include <linux/loop.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <unordered_map>

#include <vbdkit/detail/node_use.hpp>

namespace vbdkit::loop {

struct FileKey {
  std::uint64_t device = 0, inode = 0;
  bool operator==(const FileKey &) const = default;
};

/// "DEVICE:INODE", as drivers put it into their records, and back.
inline std::string to_text(const FileKey &key) {
  return std::to_string(key.device) + ":" + std::to_string(key.inode);
}
inline bool from_text(const char *text, FileKey &key) noexcept {
  return text != nullptr && std::sscanf(text, "%" SCNu64 ":%" SCNu64, &key.device, &key.inode) == 2;
}

inline bool key_of(int fd, FileKey &key) noexcept {
  struct stat st = {};
  if (::fstat(fd, &st) != 0) return false;
  key = {st.st_dev, st.st_ino};
  return true;
}

/// A bound loop device. When `error` is not 0 the kernel could not tell more than node and backing_path: no
/// permission, the filesystem of the backing file is dead (ENOTCONN, EIO) or does not answer (ETIMEDOUT).
struct Device {
  std::string node;
  std::string backing_path;  ///< sysfs: a hint only
  int error = 0;
  FileKey backing;  ///< with EACCES: of the file that has that name now, if any
  std::uint64_t offset = 0, size_limit = 0;
  bool read_only = false, direct_io = false, autoclear = false;
  std::uint32_t block_size = 0;
  std::string tag;  ///< lo_file_name
};

inline void pause_ms(long ms) noexcept {
  const timespec wait{ms / 1000, (ms % 1000) * 1000000};
  ::nanosleep(&wait, nullptr);
}

inline void fill(Device &device, const loop_info64 &info) {
  device.error = 0;
  device.backing = {info.lo_device, info.lo_inode};
  device.offset = info.lo_offset;
  device.size_limit = info.lo_sizelimit;
  device.read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
  device.direct_io = (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
  device.autoclear = (info.lo_flags & LO_FLAGS_AUTOCLEAR) != 0;
  const auto *name = reinterpret_cast<const char *>(info.lo_file_name);
  device.tag.assign(name, ::strnlen(name, LO_NAME_SIZE));
}

/// Fills the device from an open node. False: it is not bound. Hangs with the backing file's filesystem.
inline bool read_status(int fd, Device &device) {
  loop_info64 info = {};
  if (::ioctl(fd, LOOP_GET_STATUS64, &info) != 0) {
    device.error = errno;
    return device.error != ENXIO;
  }
  fill(device, info);
  int block_size = 0;
  if (::ioctl(fd, BLKSSZGET, &block_size) == 0) device.block_size = static_cast<std::uint32_t>(block_size);
  return true;
}

/// Errors of a filesystem whose server or disk has gone.
inline bool is_dead(int error) noexcept {
  return error == ENOTCONN || error == ESTALE || error == EIO;
}

/// What find() looks for; a device that fits any of it is found.
struct Search {
  std::vector<FileKey> files;
  std::vector<std::string> nodes;  ///< "/dev/loop3"
  std::vector<std::string> paths;  ///< backing_path as sysfs has it
  bool all = false;
};

namespace finding {

inline constexpr int kPatienceMs = 2000;  ///< without an answer
inline constexpr int kMostChildren = 4;

struct Mount {
  std::uint64_t device = 0;
  std::string type;
};
using Mounts = std::unordered_map<std::string, Mount>;

/// By mount point, the topmost: what names lead to.
inline Mounts read_mounts() {
  Mounts mounts;
  const std::string text = vbdkit::detail::read_text("/proc/self/mountinfo");
  vbdkit::detail::each_line(text, [&](std::string_view line) {
    const std::string number(vbdkit::detail::word(line, 2));
    unsigned major_number = 0, minor_number = 0;
    const std::size_t dash = line.find(" - ");
    if (std::sscanf(number.c_str(), "%u:%u", &major_number, &minor_number) != 2 ||
        dash == std::string_view::npos)
      return;
    mounts[vbdkit::detail::unescape_mount(vbdkit::detail::word(line, 4))] = {
        makedev(major_number, minor_number), std::string(vbdkit::detail::word(line.substr(dash + 3), 0))};
  });
  return mounts;
}

inline const Mount *mount_of(const Mounts &mounts, std::string path) {
  while (!path.empty()) {
    if (const auto found = mounts.find(path); found != mounts.end()) return &found->second;
    if (path == "/") break;
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) break;
    path.resize(slash == 0 ? 1 : slash);
  }
  return nullptr;
}

/// A filesystem whose calls wait for a program or for another host.
inline bool can_hang(std::string_view type) noexcept {
  constexpr std::array<std::string_view, 20> kRemote{
      "nfs",    "nfs4", "cifs",   "smb3",     "smbfs", "ceph", "gfs2",     "ocfs2",  "glusterfs", "9p",
      "lustre", "gpfs", "beegfs", "orangefs", "pvfs2", "coda", "virtiofs", "vboxsf", "afs",       "autofs"};
  return type.starts_with("fuse") || std::find(kRemote.begin(), kRemote.end(), type) != kRemote.end();
}

struct Question {
  Device device;
  std::uint64_t mount = 0;     ///< st_dev of the mount that its name lies on
  bool by_name_first = false;  ///< asked only when its name does not lead to a file of that mount
};
/// Written by the child into memory that both share.
struct Answer {
  int done;
  int error;
  int elsewhere;
  loop_info64 info;
  FileKey named;
};

/// 0 or an errno value. A device that is given back at this moment, and perhaps taken for another file, says
/// ENXIO: it is asked again, so that only one that stays free is taken for free.
inline int read_info(const char *node, loop_info64 &info) noexcept {
  int error = ENXIO;
  for (int attempt = 0; attempt < 3 && error == ENXIO; ++attempt) {
    if (attempt != 0) pause_ms(1);
    const UniqueFd fd(::open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    error = fd && ::ioctl(fd.get(), LOOP_GET_STATUS64, &info) == 0 ? 0 : errno;
  }
  return error;
}

/// In the child: only system calls, for another thread may have held any lock.
inline void answer_one(const Question &question, Answer &answer) noexcept {
  struct stat st = {};
  const char *path = question.device.backing_path.c_str();
  if (question.by_name_first && ::lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
      st.st_dev == question.mount) {
    answer.named = {st.st_dev, st.st_ino};
    answer.elsewhere = 1;
    return;
  }
  answer.error = read_info(question.device.node.c_str(), answer.info);
  if ((answer.error == EACCES || answer.error == EPERM) && ::lstat(path, &st) == 0)
    answer.named = {st.st_dev, st.st_ino};
}

/// Other descriptors are closed, because an abandoned child would keep their locks, and pipes of whoever
/// reads our output.
[[noreturn]] inline void child_main(const std::vector<Question> &questions, Answer *answers, std::size_t from,
                                    int pipe) noexcept {
  constexpr int kPipe = 3;
  if (pipe != kPipe) ::dup2(pipe, kPipe);
  ::syscall(SYS_close_range, kPipe + 1, ~0U, 0);
  ::syscall(SYS_close_range, 0, kPipe - 1, 0);
  for (std::size_t i = from; i < questions.size(); ++i) {
    if (answers[i].done != 0) continue;
    answer_one(questions[i], answers[i]);
    __atomic_store_n(&answers[i].done, 1, __ATOMIC_RELEASE);
  }
  ::_exit(0);
}

inline std::size_t first_open(const Answer *answers, std::size_t from, std::size_t end) noexcept {
  while (from < end && __atomic_load_n(&answers[from].done, __ATOMIC_ACQUIRE) != 0) ++from;
  return from;
}

/// A child answers from `from` on; where it stopped, `end` when it did not.
inline std::size_t ask_in_child(const std::vector<Question> &questions, Answer *answers, std::size_t from) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return from;
  UniqueFd reader(ends[0]), writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return from;
  if (child == 0) child_main(questions, answers, from, writer.get());
  writer.reset();
  pollfd polled{reader.get(), POLLIN, 0};  // its end closes the pipe
  std::size_t at = from;
  bool ended = false;
  for (int waited = 0; !ended && waited < kPatienceMs; waited += 50) {
    ended = ::poll(&polled, 1, 50) > 0;
    const std::size_t now = first_open(answers, at, questions.size());
    if (now != at) waited = 0;
    at = now;
  }
  if (!ended) ::kill(child, SIGKILL);
  // One that hangs in the kernel can't even be killed; nobody waits for it.
  for (int i = 0; i < 20 && ::waitpid(child, nullptr, ended ? 0 : WNOHANG) == 0; ++i) pause_ms(1);
  return first_open(answers, from, questions.size());
}

/// All of them; one without an answer, and those behind it on the same mount, are ETIMEDOUT.
inline void ask(const std::vector<Question> &questions, Answer *answers) {
  std::size_t at = 0;
  for (int i = 0; i < kMostChildren && at < questions.size(); ++i) {
    at = ask_in_child(questions, answers, at);
    if (at == questions.size()) return;
    const std::uint64_t silent = questions[at].mount;
    for (std::size_t k = at; k < questions.size(); ++k) {
      if (answers[k].done != 0 || (k != at && questions[k].mount != silent)) continue;
      answers[k].error = ETIMEDOUT;
      answers[k].done = 1;
    }
  }
  for (; at < questions.size(); ++at) {
    if (answers[at].done == 0) answers[at].error = ETIMEDOUT;
  }
}

template <class T>
bool has(const std::vector<T> &list, const T &value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

inline bool is_named(const Search &search, const Device &device) {
  return search.all || has(search.nodes, device.node) || has(search.paths, device.backing_path);
}

/// Whether the device has to be asked.
inline bool needs_asking(const Search &search, const Mounts &mounts, Question &question) {
  const Mount *mount = mount_of(mounts, question.device.backing_path);
  question.mount = mount == nullptr ? 0 : mount->device;
  if (is_named(search, question.device) || mount == nullptr) return true;
  for (const FileKey &file : search.files) {
    if (file.device == mount->device) return true;
  }
  // The name may be that of another mount namespace, or the filesystem one whose files have other numbers
  // than its mount (btrfs).
  question.by_name_first = true;
  return !can_hang(mount->type);
}

/// What sysfs says is behind a loop device; empty when nothing is.
inline std::string backing_path(int block, const std::string &name) {
  char buffer[4096];
  const UniqueFd fd(::openat(block, (name + "/loop/backing_file").c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t n = fd ? ::read(fd.get(), buffer, sizeof buffer) : 0;
  if (n <= 0) return {};
  return {buffer, static_cast<std::size_t>(buffer[n - 1] == '\n' ? n - 1 : n)};
}

/// All bound ones, by sysfs.
inline std::vector<Device> bound() {
  constexpr const char *kBlock = "/sys/devices/virtual/block";
  std::vector<Device> devices;
  const UniqueFd block(::open(kBlock, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const std::string &name : vbdkit::detail::names_in(kBlock)) {
    if (!name.starts_with("loop")) continue;
    std::string path = backing_path(block.get(), name);
    if (path.empty()) continue;
    Device device;
    device.node = "/dev/" + name;
    device.backing_path = std::move(path);
    devices.push_back(std::move(device));
  }
  return devices;
}

inline bool is_still_bound(const std::string &node) {
  return ::access(("/sys/block/" + node.substr(5) + "/loop").c_str(), F_OK) == 0;
}

/// Whether the device is to be reported; completes it.
inline bool take(const Search &search, const Question &question, const Answer &answer, Device &device) {
  if (answer.elsewhere != 0) return false;
  const bool named = is_named(search, device);
  if (answer.error == 0) {
    if (!named && !has(search.files, {answer.info.lo_device, answer.info.lo_inode})) return false;
    fill(device, answer.info);
    const std::string size =
        vbdkit::detail::read_line("/sys/block/" + device.node.substr(5) + "/queue/logical_block_size");
    device.block_size = static_cast<std::uint32_t>(std::strtoul(size.c_str(), nullptr, 10));
    return true;
  }
  device.error = answer.error;
  device.backing = answer.named;
  // Not on a filesystem that is looked for, by all that can be told without it.
  const bool foreign = is_dead(answer.error) || (answer.error == ETIMEDOUT && question.by_name_first);
  return (named || !foreign) && is_still_bound(device.node);  // it may have gone meanwhile
}

}  // namespace finding

/// What fits; and, with `error` set, devices on the files' filesystems that can't be looked at, of which
/// nobody can say whether they do. Those on a dead filesystem are none of these: whoever looks for a file's
/// users has it open on a living one.
inline std::vector<Device> find(const Search &search) {
  std::vector<finding::Question> questions;
  std::vector<Device> found, devices = finding::bound();
  if (devices.empty()) return found;
  const finding::Mounts mounts = finding::read_mounts();
  for (Device &device : devices) {
    finding::Question question;
    question.device = std::move(device);
    if (finding::needs_asking(search, mounts, question)) questions.push_back(std::move(question));
  }
  if (questions.empty()) return found;
  const std::size_t bytes = questions.size() * sizeof(finding::Answer);
  void *shared = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto *answers = shared == MAP_FAILED ? nullptr : static_cast<finding::Answer *>(shared);
  if (answers != nullptr) finding::ask(questions, answers);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    Device &device = questions[i].device;
    finding::Answer none{};
    none.error = ENOMEM;
    if (finding::take(search, questions[i], answers == nullptr ? none : answers[i], device))
      found.push_back(std::move(device));
  }
  if (answers != nullptr) ::munmap(shared, bytes);
  return found;
}

/// The path lies on a filesystem whose calls may wait for ever, as the table of mounts has it.
inline bool may_hang(const std::string &path) {
  const finding::Mounts mounts = finding::read_mounts();
  const finding::Mount *mount = finding::mount_of(mounts, path);
  return mount != nullptr && finding::can_hang(mount->type);
}

inline std::vector<Device> on_file(const FileKey &file) {
  Search search;
  search.files.push_back(file);
  return find(search);
}

/// All bound loop devices.
inline std::vector<Device> list() {
  Search search;
  search.all = true;
  return find(search);
}

}  // namespace vbdkit::loop
