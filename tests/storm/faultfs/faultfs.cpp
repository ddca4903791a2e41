// SPDX-License-Identifier: MIT
// faultfs ROOT CONTROL MOUNTPOINT: a FUSE filesystem that passes everything on to the directory ROOT, and
// does wrong what it is told to over the unix socket CONTROL. It runs in the foreground, without a page cache
// of its own (direct_io), so that a short read is one for whoever reads.
//
//   arm OPERATION EFFECT SKIP COUNT TEXT   the operation on a path that holds TEXT goes wrong COUNT times (at
//   most
//                                          1000), after SKIP times that go well. EFFECT is an errno's number,
//                                          `short` (read), or `slow:MILLISECONDS` (at most 2000). Answer: ok
//                                          NUMBER
//   disarm NUMBER                          answer: hits COUNT
//
// OPERATION: read write fsync create unlink rename link truncate fallocate mkdir open.
#define FUSE_USE_VERSION 35
#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

namespace {

struct Fault {
  std::string operation, text;
  int error = 0, slow_ms = 0;
  bool short_read = false;
  int skip = 0, left = 0, hits = 0;
};

std::string root;
std::mutex mutex;
std::map<int, Fault> faults;
int last_number = 0;

/// What goes wrong with this call: its error, 0 for nothing, or 1 for a short read (no errno that we inject).
constexpr int kShort = INT_MAX;
int fault(const char *operation, const char *path) {
  int slow = 0, error = 0;
  {
    std::lock_guard<std::mutex> guard(mutex);
    for (auto &[number, one] : faults) {
      if (one.operation != operation || one.left == 0 || std::strstr(path, one.text.c_str()) == nullptr)
        continue;
      if (one.skip > 0) {
        --one.skip;
        continue;
      }
      --one.left;
      ++one.hits;
      slow = one.slow_ms;
      error = one.short_read ? kShort : one.error;
      break;
    }
  }
  if (slow != 0) std::this_thread::sleep_for(std::chrono::milliseconds(slow));
  return error;
}

std::string answer(const std::string &line) {
  std::istringstream in(line);
  std::string word;
  in >> word;
  std::lock_guard<std::mutex> guard(mutex);
  if (word == "disarm") {
    int number = 0;
    in >> number;
    const auto found = faults.find(number);
    if (found == faults.end()) return "none\n";
    const int hits = found->second.hits;
    faults.erase(found);
    return "hits " + std::to_string(hits) + "\n";
  }
  Fault one;
  std::string effect;
  if (word != "arm" || !(in >> one.operation >> effect >> one.skip >> one.left >> one.text)) return "what?\n";
  one.left = std::min(one.left, 1000);
  one.short_read = effect == "short";
  if (effect.rfind("slow:", 0) == 0) one.slow_ms = std::min(std::atoi(effect.c_str() + 5), 2000);
  if (!one.short_read && one.slow_ms == 0) one.error = std::atoi(effect.c_str());
  faults[++last_number] = one;
  return "ok " + std::to_string(last_number) + "\n";
}

void serve_control(int listener) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    char text[512];
    const ssize_t got = ::recv(fd, text, sizeof text, 0);
    if (got > 0) {
      const std::string out = answer(std::string(text, static_cast<std::size_t>(got)));
      (void)!::send(fd, out.data(), out.size(), MSG_NOSIGNAL);
    }
    ::close(fd);
  }
}

std::string real(const char *path) {
  return root + path;
}
int result(int rc) {
  return rc < 0 ? -errno : 0;
}
int handle(const fuse_file_info *info) {
  return static_cast<int>(info->fh);
}

void *init(fuse_conn_info *, fuse_config *config) {
  config->use_ino = 1;
  config->attr_timeout = 0;
  config->entry_timeout = 0;
  config->negative_timeout = 0;
  config->hard_remove = 1;
  return nullptr;
}
int getattr(const char *path, struct stat *out, fuse_file_info *info) {
  return result(info != nullptr ? ::fstat(handle(info), out) : ::lstat(real(path).c_str(), out));
}
int readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t, fuse_file_info *,
            fuse_readdir_flags) {
  DIR *dir = ::opendir(real(path).c_str());
  if (dir == nullptr) return -errno;
  while (const dirent *entry = ::readdir(dir)) {
    if (fill(buffer, entry->d_name, nullptr, 0, static_cast<fuse_fill_dir_flags>(0)) != 0) break;
  }
  ::closedir(dir);
  return 0;
}
int readlink(const char *path, char *buffer, size_t size) {
  const ssize_t got = ::readlink(real(path).c_str(), buffer, size - 1);
  if (got < 0) return -errno;
  buffer[got] = 0;
  return 0;
}
int mkdir(const char *path, mode_t mode) {
  if (const int error = fault("mkdir", path)) return -error;
  return result(::mkdir(real(path).c_str(), mode));
}
int unlink(const char *path) {
  if (const int error = fault("unlink", path)) return -error;
  return result(::unlink(real(path).c_str()));
}
int rmdir(const char *path) {
  return result(::rmdir(real(path).c_str()));
}
int symlink(const char *target, const char *path) {
  return result(::symlink(target, real(path).c_str()));
}
int rename(const char *from, const char *to, unsigned flags) {
  if (const int error = fault("rename", to)) return -error;
  return result(::renameat2(AT_FDCWD, real(from).c_str(), AT_FDCWD, real(to).c_str(), flags));
}
int link(const char *from, const char *to) {
  if (const int error = fault("link", to)) return -error;
  return result(::link(real(from).c_str(), real(to).c_str()));
}
int chmod(const char *path, mode_t mode, fuse_file_info *info) {
  return result(info != nullptr ? ::fchmod(handle(info), mode) : ::chmod(real(path).c_str(), mode));
}
int chown(const char *path, uid_t uid, gid_t gid, fuse_file_info *info) {
  return result(info != nullptr ? ::fchown(handle(info), uid, gid) : ::lchown(real(path).c_str(), uid, gid));
}
int truncate(const char *path, off_t size, fuse_file_info *info) {
  if (const int error = fault("truncate", path)) return -error;
  return result(info != nullptr ? ::ftruncate(handle(info), size) : ::truncate(real(path).c_str(), size));
}
int utimens(const char *path, const timespec times[2], fuse_file_info *info) {
  if (info != nullptr) return result(::futimens(handle(info), times));
  return result(::utimensat(AT_FDCWD, real(path).c_str(), times, AT_SYMLINK_NOFOLLOW));
}
int open_with(const char *path, int flags, mode_t mode, fuse_file_info *info) {
  const int fd = ::open(real(path).c_str(), (flags & ~O_DIRECT) | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return -errno;
  info->fh = static_cast<std::uint64_t>(fd);
  info->direct_io = 1;
  return 0;
}
int open(const char *path, fuse_file_info *info) {
  if (const int error = fault("open", path)) return -error;
  return open_with(path, info->flags & ~(O_CREAT | O_EXCL), 0, info);
}
int create(const char *path, mode_t mode, fuse_file_info *info) {
  if (const int error = fault("create", path)) return -error;
  return open_with(path, info->flags | O_CREAT, mode, info);
}
int read(const char *path, char *buffer, size_t size, off_t offset, fuse_file_info *info) {
  const int error = fault("read", path);
  if (error != 0 && error != kShort) return -error;
  if (error == kShort && size > 1) size /= 2;
  const ssize_t got = ::pread(handle(info), buffer, size, offset);
  return got < 0 ? -errno : static_cast<int>(got);
}
int write(const char *path, const char *buffer, size_t size, off_t offset, fuse_file_info *info) {
  if (const int error = fault("write", path)) return -error;
  const ssize_t put = ::pwrite(handle(info), buffer, size, offset);
  return put < 0 ? -errno : static_cast<int>(put);
}
int statfs(const char *path, struct statvfs *out) {
  return result(::statvfs(real(path).c_str(), out));
}
int flush(const char *, fuse_file_info *info) {
  return result(::close(::dup(handle(info))));
}
int release(const char *, fuse_file_info *info) {
  return result(::close(handle(info)));
}
int fsync(const char *path, int data_only, fuse_file_info *info) {
  if (const int error = fault("fsync", path)) return -error;
  return result(data_only != 0 ? ::fdatasync(handle(info)) : ::fsync(handle(info)));
}
int fsyncdir(const char *path, int, fuse_file_info *) {
  if (const int error = fault("fsync", path)) return -error;
  const int fd = ::open(real(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const int rc = result(::fsync(fd));
  ::close(fd);
  return rc;
}
int fallocate(const char *path, int mode, off_t offset, off_t length, fuse_file_info *info) {
  if (const int error = fault("fallocate", path)) return -error;
  return result(::fallocate(handle(info), mode, offset, length));
}
off_t lseek(const char *, off_t offset, int whence, fuse_file_info *info) {
  const off_t at = ::lseek(handle(info), offset, whence);
  return at < 0 ? -errno : at;
}
int getxattr(const char *path, const char *name, char *value, size_t size) {
  const ssize_t got = ::lgetxattr(real(path).c_str(), name, value, size);
  return got < 0 ? -errno : static_cast<int>(got);
}
int setxattr(const char *path, const char *name, const char *value, size_t size, int flags) {
  return result(::lsetxattr(real(path).c_str(), name, value, size, flags));
}
int listxattr(const char *path, char *list, size_t size) {
  const ssize_t got = ::llistxattr(real(path).c_str(), list, size);
  return got < 0 ? -errno : static_cast<int>(got);
}
int removexattr(const char *path, const char *name) {
  return result(::lremovexattr(real(path).c_str(), name));
}

fuse_operations operations() {
  fuse_operations all{};
  all.init = init;
  all.getattr = getattr;
  all.readdir = readdir;
  all.readlink = readlink;
  all.mkdir = mkdir;
  all.unlink = unlink;
  all.rmdir = rmdir;
  all.symlink = symlink;
  all.rename = rename;
  all.link = link;
  all.chmod = chmod;
  all.chown = chown;
  all.truncate = truncate;
  all.utimens = utimens;
  all.open = open;
  all.create = create;
  all.read = read;
  all.write = write;
  all.statfs = statfs;
  all.flush = flush;
  all.release = release;
  all.fsync = fsync;
  all.fsyncdir = fsyncdir;
  all.fallocate = fallocate;
  all.lseek = lseek;
  all.getxattr = getxattr;
  all.setxattr = setxattr;
  all.listxattr = listxattr;
  all.removexattr = removexattr;
  return all;
}

int listen_at(const char *path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof address.sun_path) return -1;
  std::strcpy(address.sun_path, path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 ||
      ::listen(fd, 16) != 0) {
    return -1;
  }
  return fd;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: faultfs ROOT CONTROL MOUNTPOINT\n");
    return 2;
  }
  root = argv[1];
  ::umask(0);
  const int listener = listen_at(argv[2]);
  if (listener < 0) {
    std::perror(argv[2]);
    return 1;
  }
  std::thread(serve_control, listener).detach();
  const std::string options = "allow_other,default_permissions,dev,suid,fsname=faultfs";
  const char *words[] = {argv[0], "-f", "-o", options.c_str(), argv[3]};
  const fuse_operations all = operations();
  return fuse_main(5, const_cast<char **>(words), &all, nullptr);
}
