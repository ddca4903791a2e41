// SPDX-License-Identifier: MIT
// For the tests of image and device: a trusted directory with the plugins that the build made, an allowed
// directory for images, a run directory, the settings over them. Everything is gone at the end.
// VBD_TEST_PLUGINS is the build's plugin folder.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "core/config/settings.hpp"
#include "core/plugin/registry.hpp"
#include "core/sys/run.hpp"

namespace vbd::test {

namespace fs = std::filesystem;

inline Constant constant(const char *text) {
  return *Constant::parse(text, text[1] == 'D' ? PluginKind::driver : PluginKind::filetype);
}

inline std::string slurp(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void spill(const std::string &path, const std::string &content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  ::chmod(path.c_str(), 0600);
}

class Bench {
 public:
  Bench() {
    const char *home = std::getenv("HOME");
    std::string base = ::geteuid() == 0 ? "/var/lib" : (home == nullptr ? "/nowhere" : home);
    std::string name = base + "/vbdkit-test.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) return;
    root = fs::canonical(name).string();
    for (const char *sub : {"plugins", "images", "run"}) make(sub);
    ::chmod(root.c_str(), 0755);
    install_plugins();
    settings.allowed_dirs = {images()};
    settings.file_storage_dir = images();
    settings.run_dir = root + "/run";
    settings.state_dir = root + "/state";
    settings.node = "node1";
    runner = sys::make_real_runner();
    registry = std::make_unique<plugin::Registry>(settings, std::vector<std::string>{root + "/plugins"}, "",
                                                  *runner);
    ok = true;
  }
  virtual ~Bench() {
    std::error_code ignored;
    if (!root.empty()) fs::remove_all(root, ignored);
  }
  Bench(const Bench &) = delete;
  Bench &operator=(const Bench &) = delete;

  [[nodiscard]] std::string images() const { return root + "/images"; }
  [[nodiscard]] std::string image(const std::string &name) const { return images() + "/" + name; }
  std::string make(const std::string &sub) const {
    fs::create_directories(root + "/" + sub);
    ::chmod((root + "/" + sub).c_str(), 0755);
    return root + "/" + sub;
  }
  std::string make_raw(const std::string &name, std::uint64_t size) const {
    spill(image(name), "");
    fs::resize_file(image(name), size);
    return image(name);
  }
  /// Exit status of a program; its output in `output`.
  int run(std::vector<std::string> argv, std::string *output = nullptr) const {
    sys::RunSpec spec;
    spec.argv = std::move(argv);
    auto result = runner->run(spec);
    if (!result) return -1;
    if (output != nullptr) *output = result->output + result->last_lines;
    return result->exit_status;
  }
  /// Names of all files below a directory.
  static std::vector<std::string> files_below(const std::string &directory) {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto &entry : fs::recursive_directory_iterator(directory, ignored)) {
      if (!entry.is_directory()) names.push_back(entry.path().string());
    }
    return names;
  }

  std::string root;
  bool ok = false;
  config::Settings settings;
  std::unique_ptr<sys::Runner> runner;
  std::unique_ptr<plugin::Registry> registry;

 private:
  void install_plugins() const {
    const char *built = std::getenv("VBD_TEST_PLUGINS");
    REQUIRE_MESSAGE(built != nullptr, "VBD_TEST_PLUGINS must name the folder of the built plugins");
    for (const auto &entry : fs::recursive_directory_iterator(built)) {
      const bool program = entry.path().filename() == "vbdkit-flush";  // FD_BLKTAP's own, found beside it
      if (!entry.is_regular_file() || (entry.path().extension() != ".so" && !program)) continue;
      const fs::path to = fs::path(root) / "plugins" / entry.path().filename();
      fs::copy_file(entry.path(), to);
      ::chmod(to.c_str(), 0755);
    }
  }
};

}  // namespace vbd::test

#define NEED_BENCH(bench, name) \
  VBD_REQUIRE_OR_SKIP((bench).ok, name, "no directory that the trust rule accepts")
