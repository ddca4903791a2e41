// SPDX-License-Identifier: MIT
// A manager over a bench: real directories, real plugins, the shipped profiles.
#pragma once

#include <set>

#include "core/image/tests/bench.hpp"
#include "manager/instance/catalog.hpp"
#include "manager/instance/lifecycle.hpp"
#include "tests/support/skip.hpp"

namespace vbd::test {

constexpr std::uint64_t kMiB = 1u << 20;

struct Fixture : Bench {
  Fixture() { settings.hypervisor = "xen"; }
  [[nodiscard]] instance::Manager manager() { return {settings, *registry, {VBD_PROFILE_DIR}, *runner}; }
  [[nodiscard]] bool has_plugins() const {
    return ok && fs::exists(root + "/plugins/ft-raw.so") && fs::exists(root + "/plugins/fd-loop.so");
  }

  static instance::AddSpec spec(const std::string &name, const std::string &words,
                                const std::vector<std::string> &disks) {
    instance::AddSpec spec;
    spec.name = name;
    auto parsed = instance::parse_template(words, spec);
    if (!parsed) FAIL(parsed.error().message());
    for (const auto &text : disks) {
      auto disk = instance::parse_disk(text);
      if (!disk) FAIL(disk.error().message());
      spec.disks.push_back(*disk);
    }
    return spec;
  }
  /// The message of the error, or "".
  std::string add(const instance::AddSpec &spec, bool dry_run = false) {
    auto done = instance::add(manager(), spec, dry_run);
    return done ? "" : done.error().message();
  }
  std::string remove(const std::string &name, bool keep = false) {
    auto done = instance::remove(manager(), {name, keep, false}, false);
    return done ? "" : done.error().message();
  }
  instance::Entry find(const std::string &name) {
    auto entry = instance::Catalog(settings).find(name);
    if (!entry) FAIL(entry.error().message());
    return *entry;
  }
  bool knows(const std::string &name) { return instance::Catalog(settings).find(name).ok(); }
  /// Every name below the root with its content (images by size), but for the plugins.
  std::set<std::string> snapshot() const {
    std::set<std::string> seen;
    for (const auto &entry : fs::recursive_directory_iterator(root)) {
      const std::string path = entry.path().string();
      if (path.starts_with(root + "/plugins/")) continue;
      const bool file = entry.is_regular_file() && !entry.is_symlink();
      const std::string content = !file                       ? ""
                                  : entry.file_size() < 65536 ? slurp(path)
                                                              : std::to_string(entry.file_size());
      seen.insert(path + "|" + content);
    }
    return seen;
  }
};

}  // namespace vbd::test

#define NEED_FIXTURE(fixture, name)                  \
  VBD_REQUIRE_OR_SKIP((fixture).has_plugins(), name, \
                      "no trusted directory, or the shipped plugins are not built")
