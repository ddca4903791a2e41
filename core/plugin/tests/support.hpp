// SPDX-License-Identifier: MIT
// For the tests of this room: a directory whose whole chain is trusted, and the plugins that the build made.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <sys/stat.h>
#include <unistd.h>

/// What the trust rule wants of `path` and all above it, judged apart from the code under test.
inline bool clean_chain(std::filesystem::path path) {
  for (;; path = path.parent_path()) {
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0 || (st.st_uid != 0 && st.st_uid != ::geteuid())) return false;
    if ((st.st_mode & S_IWOTH) != 0 || ((st.st_mode & S_IWGRP) != 0 && st.st_gid != 0)) return false;
    if (path == path.parent_path()) return true;
  }
}

/// A directory of its own, in a place that the trust rule accepts; removed at the end. `ok` false: there is
/// none.
class TrustedDir {
 public:
  TrustedDir() {
    const char *home = std::getenv("HOME");
    for (const std::string &base :
         {std::string(::geteuid() == 0 ? "/var/lib" : ""), std::string(home == nullptr ? "" : home)}) {
      std::error_code none;
      if (base.empty() || !clean_chain(std::filesystem::canonical(base, none)) || none) continue;
      std::string name = base + "/vbdkit-test.XXXXXX";
      if (::mkdtemp(name.data()) == nullptr) continue;
      path = std::filesystem::canonical(name).string();
      ok = true;
      std::filesystem::permissions(path, std::filesystem::perms(0755));
      return;
    }
  }
  ~TrustedDir() {
    std::error_code ignored;
    if (ok) std::filesystem::remove_all(path, ignored);
  }
  TrustedDir(const TrustedDir &) = delete;
  TrustedDir &operator=(const TrustedDir &) = delete;

  /// Makes a directory below it.
  std::string sub(const std::string &name) const {
    std::filesystem::create_directory(path + "/" + name);
    std::filesystem::permissions(path + "/" + name, std::filesystem::perms(0755));
    return path + "/" + name;
  }

  std::string path;
  bool ok = false;
};

inline std::string built(const std::string &name) {
  const char *directory = std::getenv("VBD_TEST_PLUGINS");
  return std::string(directory == nullptr ? "." : directory) + "/" + name;
}

inline void install(const std::string &name, const std::string &directory, const std::string &as = {}) {
  const std::string to = directory + "/" + (as.empty() ? name : as);
  std::filesystem::copy_file(built(name), to, std::filesystem::copy_options::overwrite_existing);
  std::filesystem::permissions(to, std::filesystem::perms(0755));
}

inline void write_file(const std::string &path, const std::string &content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string read_whole(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
