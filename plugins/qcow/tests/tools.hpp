// SPDX-License-Identifier: MIT
// What the qcow tests share: the plugin linked in, scratch files on disk, and QEMU's tools as oracles. One
// thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "sdk/testkit/files.hpp"
#include "sdk/testkit/plugin.hpp"

namespace qcow_test {

using Pairs = vbdkit::testkit::Pairs;

/// The plugin under test, initialised once.
vbdkit::testkit::Plugin &plugin();
inline vbdkit::testkit::Filetype filetype() {
  return plugin().filetype();
}

struct Ran {
  int status = -1;  ///< exit status, or 128 + signal; 127: not found
  std::string out;  ///< stdout and stderr
};
Ran run(const std::vector<std::string> &argv);
bool have(const char *program);

/// A directory that goes away with its content.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;
  [[nodiscard]] std::string path(const std::string &name) const { return (directory_ / name).string(); }

 private:
  std::filesystem::path directory_;
};

/// A real file, read and written through a vbd_file.
class DiskFile {
 public:
  explicit DiskFile(const std::string &path, bool create = false, uint32_t flags = 0);
  ~DiskFile();
  DiskFile(const DiskFile &) = delete;
  DiskFile &operator=(const DiskFile &) = delete;
  [[nodiscard]] const vbd_file *file() const { return file_->file(); }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  std::unique_ptr<vbdkit::testkit::FdFile> file_;
};

struct Outcome {
  int32_t status = 0;
  std::string reason, message;
  std::shared_ptr<vbdkit::testkit::Results> results;
};
enum class Op { probe, info, create, resize, check };
Outcome call(Op op, const vbd_file *file, uint64_t bytes = 0, uint32_t must = 0, const Pairs &params = {});

/// Writes the bytes of a file in memory to disk, and reads one.
void save(const vbdkit::testkit::SparseBytes &bytes, const std::string &path);
vbdkit::testkit::SparseBytes load(const std::string &path);

}  // namespace qcow_test
