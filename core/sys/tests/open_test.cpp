// SPDX-License-Identifier: MIT
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "core/sys/files.hpp"
#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using test::Scratch;

namespace {

struct Store {
  Scratch scratch;
  std::string root = scratch.directory("store");
  std::vector<AllowedDir> allowed = resolve_allowed({root, scratch / "missing"});
  [[nodiscard]] Result<Fd> open(const std::string &path, Access access = Access::read_write) const {
    return open_image_below(path, allowed, access);
  }
};

constexpr uid_t kNobody = 65534;

}  // namespace

TEST_CASE("allowed directories are canonicalised, missing ones left out") {
  const Store store;
  REQUIRE(store.allowed.size() == 1);
  REQUIRE(::symlink(store.root.c_str(), (store.scratch / "alias").c_str()) == 0);
  const auto alias = resolve_allowed({store.scratch / "alias"});
  CHECK(alias.at(0).canonical == store.root);
  CHECK(*confine(store.scratch / "alias/i/sda", alias) == store.root + "/i/sda");
  CHECK(*confine(store.root + "/i/sda", alias) == store.root + "/i/sda");
  store.scratch.file("store/sda", "x");
  CHECK(open_image_below(store.scratch / "alias/sda", alias, Access::read).ok());
}

TEST_CASE("what lies outside is refused, naming the allowed directories") {
  const Store store;
  store.scratch.file("outside", "x");
  store.scratch.directory("store-2");
  store.scratch.file("store-2/sda", "x");
  for (const char *path : {"/outside", "/store/../outside", "/store-2/sda", "/store/../store-2/sda"}) {
    const auto fd = store.open(store.scratch.path() + path);
    REQUIRE_FALSE(fd);
    CHECK(fd.error().is(kOutside));
    CHECK(fd.error().exit() == Exit::refused);
    CHECK(fd.error().message().find(store.root) != std::string::npos);
  }
  CHECK(open_image_below("/x", {}, Access::read).error().is(kOutside));
}

TEST_CASE("an image is opened below an allowed directory, never made") {
  const Store store;
  store.scratch.directory("store/i");
  store.scratch.file("store/i/sda", "content");
  const auto fd = store.open(store.root + "/i/sda");
  REQUIRE(fd);
  CHECK((::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((::fcntl(fd->get(), F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == O_RDWR);
  CHECK((::fcntl(store.open(store.root + "/i/sda", Access::read)->get(), F_GETFL) & O_ACCMODE) == O_RDONLY);
  const auto missing = store.open(store.root + "/i/sdb");
  CHECK(missing.error().is(kNotFound));
  CHECK(missing.error().message().find("/i/sdb") != std::string::npos);
  CHECK(store.open(store.root + "/none/sda").error().is(kNotFound));
  CHECK(store.open(store.root + "/i/sda/x").error().is(kNotFound));
  CHECK_FALSE(std::filesystem::exists(store.root + "/i/sdb"));
}

TEST_CASE("no link is followed, wherever it stands and points") {
  const Store store;
  store.scratch.directory("store/i");
  store.scratch.file("store/i/sda", "x");
  REQUIRE(::symlink("sda", (store.root + "/i/last").c_str()) == 0);
  REQUIRE(::symlink("i", (store.root + "/middle").c_str()) == 0);
  REQUIRE(::symlink("/proc/self/fd/0", (store.root + "/i/magic").c_str()) == 0);
  REQUIRE(::symlink("nowhere", (store.root + "/i/dangling").c_str()) == 0);
  for (const char *name : {"/i/last", "/i/magic", "/i/dangling", "/middle/sda"}) {
    const auto fd = store.open(store.root + name);
    REQUIRE_FALSE(fd);
    CHECK(fd.error().is(kSymlink));
  }
  CHECK(store.open(store.root + "/middle/sda").error().message().find("/middle:") != std::string::npos);
  CHECK(open_dir_below(store.root + "/middle", store.allowed).error().is(kSymlink));
}

TEST_CASE("only regular files, and a FIFO does not hang") {
  const Store store;
  store.scratch.directory("store/dir");
  REQUIRE(::mkfifo((store.root + "/fifo").c_str(), 0600) == 0);
  const Fd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = store.root + "/socket";
  REQUIRE(name.size() < sizeof address.sun_path);
  std::strcpy(address.sun_path, name.c_str());
  REQUIRE(::bind(server.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) == 0);
  for (const auto &[path, kind] :
       {std::pair{"/dir", "directory"}, {"/fifo", "FIFO"}, {"/socket", "socket"}, {"", "directory"}}) {
    for (const Access access : {Access::read, Access::read_write}) {
      const auto fd = store.open(store.root + path, access);
      REQUIRE_FALSE(fd);
      CHECK(fd.error().is(kNotRegular));
      CHECK(fd.error().message().find(kind) != std::string::npos);
      CHECK(open_image_anywhere(store.root + path, access).error().is(kNotRegular));
    }
  }
  CHECK(open_image_anywhere("/dev/null", Access::read).error().is(kNotRegular));
}

TEST_CASE("a directory that others can write to is refused") {
  const Store store;
  store.scratch.directory("store/open", 0777);
  store.scratch.file("store/open/sda", "x");
  store.scratch.directory("store/open/below");
  store.scratch.file("store/open/below/sda", "x");
  for (const char *path : {"/open/sda", "/open/below/sda"}) {
    const auto fd = store.open(store.root + path);
    REQUIRE_FALSE(fd);
    CHECK(fd.error().is(kUnsafeParent));
    CHECK(fd.error().message().find(store.root + "/open:") != std::string::npos);
    CHECK(fd.error().message().find("0777") != std::string::npos);
  }
  CHECK(open_dir_below(store.root + "/open", store.allowed).error().is(kUnsafeParent));
  CHECK(open_dir_below(store.root + "/open/below", store.allowed).error().is(kUnsafeParent));
  REQUIRE(::chmod((store.root + "/open").c_str(), 01777) == 0);
  CHECK(store.open(store.root + "/open/sda").ok());  // sticky, and the entry is ours
  CHECK(open_dir_below(store.root + "/open/below", store.allowed).ok());
}

TEST_CASE("group 0 is not others, other groups and owners are") {
  VBD_REQUIRE_OR_SKIP(::geteuid() == 0, "unsafe_owners", "needs root to change owners");
  const Store store;
  const std::string directory = store.scratch.directory("store/d", 0775);
  const std::string image = store.scratch.file("store/d/sda", "x");
  CHECK(store.open(image).ok());
  REQUIRE(::chown(directory.c_str(), 0, kNobody) == 0);
  CHECK(store.open(image).error().is(kUnsafeParent));
  REQUIRE(::chown(directory.c_str(), kNobody, 0) == 0);
  CHECK(store.open(image).error().is(kUnsafeParent));
  REQUIRE(::chown(directory.c_str(), 0, 0) == 0);
  REQUIRE(::chmod(directory.c_str(), 01777) == 0);
  REQUIRE(::chown(image.c_str(), kNobody, 0) == 0);
  CHECK(store.open(image).error().is(kUnsafeParent));  // its owner may exchange it
  REQUIRE(::chmod(directory.c_str(), 0755) == 0);
  CHECK(store.open(image).ok());  // image_owner: a file of another user in a safe directory
}

TEST_CASE("open_dir_below gives a directory that can be listed") {
  const Store store;
  store.scratch.directory("store/i");
  store.scratch.file("store/i/sda");
  const auto fd = open_dir_below(store.root + "/i", store.allowed);
  REQUIRE(fd);
  CHECK(*list_dir(fd->get()) == std::vector<std::string>{"sda"});
  CHECK(open_dir_below(store.root, store.allowed).ok());
  CHECK(open_dir_below(store.root + "/i/sda", store.allowed).error().is(kNotFound));
  CHECK(open_dir_below(store.root + "/none", store.allowed).error().is(kNotFound));
}

TEST_CASE("open_image_anywhere follows links to the directory but not at the end") {
  const Store store;
  store.scratch.file("store/sda", "x");
  REQUIRE(::symlink("store", (store.scratch / "alias").c_str()) == 0);
  REQUIRE(::symlink("sda", (store.root + "/link").c_str()) == 0);
  CHECK(open_image_anywhere(store.scratch / "alias/sda", Access::read_write).ok());
  CHECK(open_image_anywhere(store.scratch / "alias/link", Access::read).error().is(kSymlink));
  CHECK(open_image_anywhere(store.root + "/none", Access::read).error().is(kNotFound));
  CHECK(open_image_anywhere("", Access::read).error().is(kNotFound));
  CHECK(open_parent(store.scratch / "alias/none").ok());
}

TEST_CASE("a kernel without openat2 is as strict") {
  const Store store;
  store.scratch.directory("store/i");
  store.scratch.file("store/i/sda", "x");
  REQUIRE(::symlink("i", (store.root + "/middle").c_str()) == 0);
  REQUIRE(::symlink("sda", (store.root + "/i/last").c_str()) == 0);
  const test::OtherProcess old_kernel([&] {
    sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{sizeof filter / sizeof filter[0], filter};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return false;
    const bool gone = ::syscall(SYS_openat2, AT_FDCWD, "/", nullptr, 0) < 0 && errno == ENOSYS;
    const auto refused = [&](const char *name) {
      const auto fd = store.open(store.root + name);
      return !fd && fd.error().is(kSymlink);
    };
    return gone && store.open(store.root + "/i/sda").ok() && refused("/middle/sda") && refused("/i/last");
  });
  CHECK(old_kernel.ready);
}

TEST_CASE("errors stay one line whatever the name") {
  const Store store;
  const auto fd = store.open(store.root + "/evil\n\033[31m");
  REQUIRE_FALSE(fd);
  CHECK(fd.error().message().find_first_of("\n\033") == std::string::npos);
}
