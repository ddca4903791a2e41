// SPDX-License-Identifier: MIT
#include "core/sys/files.hpp"

#include "core/sys/tests/scratch.hpp"

using namespace vbd;
using namespace vbd::sys;
using test::Scratch;

TEST_CASE("paths are taken apart by text") {
  CHECK(base_name("/a/b") == "b");
  CHECK(base_name("/a/b/") == "b");
  CHECK(base_name("b") == "b");
  CHECK(base_name("/") == "");
  CHECK(dir_name("/a/b") == "/a");
  CHECK(dir_name("/a") == "/");
  CHECK(dir_name("/a/b//") == "/a");
  CHECK(dir_name("b") == ".");
  CHECK(absolute_path("/a/./b/../c//d/") == "/a/c/d");
  CHECK(absolute_path("/../..") == "/");
  CHECK(absolute_path("x") == std::filesystem::current_path().string() + "/x");
}

TEST_CASE("a file is read whole or refused") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  scratch.file("f", "hello");
  CHECK(*read_file(scratch / "f", 5) == "hello");
  CHECK(*read_file_at(directory.get(), "f", 100) == "hello");
  const auto large = read_file(scratch / "f", 4);
  REQUIRE_FALSE(large);
  CHECK(large.error().is(kIo));
  CHECK(read_file(scratch / "missing", 4).error().is(kNotFound));
  CHECK_FALSE(read_file(scratch.path(), 4).ok());
  CHECK_FALSE(read_file("/proc/self/stat", 1u << 20)->empty());
  REQUIRE(::symlink("f", (scratch / "link").c_str()) == 0);
  CHECK(read_file_at(directory.get(), "link", 100).error().is(kSymlink));
}

TEST_CASE("file_info does not follow a link and tells what is allocated") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  scratch.sparse_file("f", 1 << 20);
  REQUIRE(::symlink("f", (scratch / "link").c_str()) == 0);
  const auto info = file_info_at(directory.get(), "f");
  REQUIRE(info);
  CHECK(info->size == 1u << 20);
  CHECK(info->allocated == 0);
  CHECK(info->links == 1);
  CHECK(info->is_regular());
  CHECK(file_info_at(directory.get(), "link")->is_link());
  CHECK(file_info_at(directory.get(), "none").error().is(kNotFound));
  const Fd fd(::open((scratch / "link").c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(file_info(fd.get())->id == info->id);
}

TEST_CASE("replace_file_at replaces whole and keeps other names") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  scratch.file("f", "old");
  REQUIRE(::link((scratch / "f").c_str(), (scratch / "backup").c_str()) == 0);
  REQUIRE(replace_file_at(directory.get(), "f", "new", 0640));
  CHECK(*read_file(scratch / "f", 10) == "new");
  CHECK(*read_file(scratch / "backup", 10) == "old");
  CHECK((file_info_at(directory.get(), "f")->mode & 07777) == 0640);
  CHECK(*list_dir(directory.get()) == std::vector<std::string>{"backup", "f"});
}

TEST_CASE("directories are made and removed") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  REQUIRE(make_dirs(scratch / "a/b/c", 0750));
  REQUIRE(make_dirs(scratch / "a/b/c", 0750));
  CHECK(std::filesystem::is_directory(scratch / "a/b/c"));
  scratch.file("file");
  CHECK_FALSE(make_dirs(scratch / "file/x", 0750).ok());
  REQUIRE(make_dir_at(directory.get(), "d", 0700));
  CHECK(make_dir_at(directory.get(), "d", 0700).error().is(kExists));
  CHECK(remove_dir_at(directory.get(), "a").error().is(kExists));
  CHECK(remove_dir_at(directory.get(), "d"));
  CHECK(remove_dir_at(directory.get(), "d"));
  CHECK(unlink_at(directory.get(), "file"));
  CHECK(unlink_at(directory.get(), "file"));
  CHECK(sync_fd(directory.get()));
}

TEST_CASE("filesystem_info is that of the descriptor") {
  const Scratch scratch;
  const Fd directory = scratch.open();
  const auto info = filesystem_info(directory.get());
  REQUIRE(info);
  CHECK(info->total_bytes >= info->free_bytes);
  CHECK_FALSE(info->type.empty());
  CHECK_FALSE(info->type.starts_with("0x"));
  CHECK_FALSE(info->read_only);
  const Fd proc(::open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  CHECK(filesystem_info(proc.get())->type == "proc");
}
