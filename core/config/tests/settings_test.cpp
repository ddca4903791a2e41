// SPDX-License-Identifier: MIT
#include "core/config/settings.hpp"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/skip.hpp"

using namespace vbd;
using namespace vbd::config;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kDefaults =
    "file_storage_dir: /srv/images\nstate_dir: /var/lib/x\nrun_dir: /run/x\ndefault_driver: FD_LOOP\n"
    "default_filetype: FT_RAW\nhypervisor: some\nos_search_path: [/a, /b]\nexport_dir: /srv/export\n";

/// A directory of its own with PREFIX and etc in it.
class Place {
 public:
  Place() {
    std::string name = (fs::temp_directory_path() / "vbd-config-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    root_ = name;
  }
  Place(const Place &) = delete;
  Place &operator=(const Place &) = delete;
  ~Place() { fs::remove_all(root_); }
  std::string write(const std::string &name, const std::string &text) const {
    const fs::path path = root_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path.string();
  }
  [[nodiscard]] Result<Settings> load(const std::string &file = "") const {
    return load_settings({kDefaults, file, (root_ / "usr").string(), (root_ / "etc").string()});
  }
  [[nodiscard]] std::string error_of(const std::string &text) const {
    const auto loaded = load(write("one.yaml", text));
    return loaded ? "no error" : loaded.error().message().substr((root_ / "one.yaml").string().size());
  }

 private:
  fs::path root_;
};

}  // namespace

TEST_CASE("without any file the defaults work") {
  const Place place;
  const auto settings = place.load();
  REQUIRE(settings.ok());
  CHECK(settings->file_storage_dir == "/srv/images");
  CHECK(settings->allowed_dirs == std::vector<std::string>{"/srv/images"});
  CHECK(settings->default_driver == "FD_LOOP");
  CHECK_FALSE(settings->node.empty());
  CHECK(settings->origins.at("allowed_dirs") == "default");
  CHECK(settings->image_mode == 0600);
  CHECK(settings->os_search_path.size() == 2);
}

TEST_CASE("later files replace key by key, lists whole") {
  const Place place;
  place.write(
      "usr/lib/vbdkit/vbdkit.yaml",
      "file_storage_dir: /a\nallowed_dirs: [/a, /b]\nnode: first\nplugins: {FD_X: {one: 1, two: 2}}\n");
  const std::string etc =
      place.write("etc/vbdkit.yaml", "allowed_dirs: [/c/]\nplugins:\n  FD_X:\n    two: 3\n");
  place.write("etc/conf.d/20.yaml", "node: last\nnodes: {node2: {ssh: root@node2}}\n");
  place.write("etc/conf.d/10.yaml", "node: middle\n");
  place.write("etc/conf.d/30.txt", "no: yaml\n");
  const auto settings = place.load();
  REQUIRE(settings.ok());
  CHECK(settings->file_storage_dir == "/a");
  CHECK(settings->allowed_dirs == std::vector<std::string>{"/c"});
  CHECK(settings->node == "last");
  CHECK(settings->plugins.at("FD_X").at("one").value == "1");
  CHECK(settings->plugins.at("FD_X").at("two").value == "3");
  CHECK(settings->origins.at("plugins.FD_X.two") == etc + ":4:10");
  CHECK(settings->origins.at("allowed_dirs") == etc + ":1:15");
  CHECK(settings->nodes.at("node2").ssh == "root@node2");
}

TEST_CASE("a file given by name stands alone") {
  const Place place;
  place.write("usr/lib/vbdkit/vbdkit.yaml", "node: leaks\n");
  place.write("etc/conf.d/10.yaml", "unknown: leaks\n");
  const auto settings = place.load(place.write("one.yaml", "file_storage_dir: /x\n"));
  REQUIRE(settings.ok());
  CHECK(settings->node != "leaks");
  CHECK(settings->allowed_dirs == std::vector<std::string>{"/x"});
  const auto missing = place.load("/nonexistent/x.yaml");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().is(kConfigNotFound));
}

TEST_CASE("errors have file, line and column") {
  const Place place;
  CHECK(place.error_of("file_storage_dri: /x\n") ==
        ":1:1: unknown key 'file_storage_dri'; the nearest is 'file_storage_dir'");
  CHECK(place.error_of("state_dir: relative\n").find(":1:12: state_dir: ") == 0);
  CHECK(place.error_of("state_dir: /a/../b\n").find(":1:12: state_dir: ") == 0);
  CHECK(place.error_of("allowed_dirs: /x\n").find(":1:15: allowed_dirs: expected a list") == 0);
  CHECK(place.error_of("allowed_dirs: [/x, y]\n").find(":1:20: allowed_dirs[1]: ") == 0);
  CHECK(place.error_of("default_driver: FT_RAW\n").find(":1:17: default_driver: ") == 0);
  CHECK(place.error_of("references: allow\n").find(":1:13: references: ") == 0);
  CHECK(place.error_of("image_mode: 0999\n").find(":1:13: image_mode: ") == 0);
  CHECK(place.error_of("image_mode: 01777\n").find(":1:13: image_mode: ") == 0);
  CHECK(place.error_of("min_free: -1\n").find(":1:11: min_free: ") == 0);
  CHECK(place.error_of("plugins: {loop: {a: b}}\n").find(":1:11: plugins: ") == 0);
  CHECK(place.error_of("plugins: {FD_X: {a: [b]}}\n").find(":1:21: plugins.FD_X.a: ") == 0);
  CHECK(place.error_of("plugins: [FD_X]\n").find(":1:10: plugins: ") == 0);
  CHECK(place.error_of("nodes: {n: {shs: x}}\n")
            .find(":1:13: unknown key 'shs' in nodes.n; the nearest is 'ssh'") == 0);
  CHECK(place.error_of("nodes: {n: {ssh: -oProxyCommand=x}}\n").find(":1:18: nodes.n.ssh: ") == 0);
  CHECK(place.error_of("hypervisor: ../x\n").find(":1:13: hypervisor: ") == 0);
  CHECK(place.error_of("- a\n").find(":1:1: ") == 0);
}

TEST_CASE("what is shown can be read again") {
  const Place place;
  const auto first = place.load(place.write(
      "one.yaml",
      "file_storage_dir: '/x y'\nmin_free: 10G\nimage_mode: 0640\nreferences: below-allowed-dirs\n"
      "plugins: {FD_X: {a: 'q\"#'}, FT_Y: {b: 1}}\nnodes: {n: {ssh: a@b}}\nplugin_dirs: [/p]\nnode: me\n"));
  REQUIRE(first.ok());
  const std::string shown = show_settings(*first);
  CHECK(shown.find("min_free: 10737418240  # from ") != std::string::npos);
  CHECK(shown.find("hypervisor: some  # from default\n") != std::string::npos);
  const auto second = place.load(place.write("two.yaml", shown));
  REQUIRE(second.ok());
  CHECK(second->file_storage_dir == "/x y");
  CHECK(second->min_free == first->min_free);
  CHECK(second->image_mode == 0640);
  CHECK(second->plugins.at("FD_X").at("a").value == "q\"#");
  CHECK(second->nodes.at("n").ssh == "a@b");
  CHECK(second->references == ReferencePolicy::below_allowed_dirs);
}

TEST_CASE("owners of images") {
  const Place place;
  const auto by_number =
      place.load(place.write("one.yaml", "image_owner: 0\nimage_group: 0\nimage_mode: 0660\n"));
  REQUIRE(by_number.ok());
  if (geteuid() == 0) {
    const auto ownership = image_ownership(*by_number);
    REQUIRE(ownership.ok());
    CHECK(ownership->uid == 0);
    CHECK(ownership->gid == 0);
    CHECK(ownership->mode == 0660);
  } else {
    CHECK_FALSE(image_ownership(*by_number).ok());
  }
  CHECK(image_ownership(*place.load())->uid == -1);
  const auto unknown = place.load(place.write("two.yaml", "image_owner: no-such-user-here\n"));
  REQUIRE(unknown.ok());
  const auto refused = image_ownership(*unknown);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message().find("two.yaml:1:14: image_owner: no user named") != std::string::npos);
}
