// SPDX-License-Identifier: MIT
#include "core/plugin/registry.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>

#include "core/plugin/tests/support.hpp"
#include "core/plugin/trust.hpp"
#include "tests/support/skip.hpp"

using namespace vbd;
using namespace vbd::plugin;

namespace {

Constant constant(const std::string &text) {
  return Constant::parse(text, text.starts_with("FD") ? PluginKind::driver : PluginKind::filetype).value();
}

/// Two directories with plugins in them, and settings.
struct World {
  World() {
    if (!dir.ok) return;
    first = dir.sub("first");
    builtin = dir.sub("builtin");
    settings.plugin_dirs = {first};
  }
  Registry registry() { return Registry(settings, {}, builtin, *runner); }

  TrustedDir dir;
  std::string first, builtin;
  config::Settings settings;
  std::unique_ptr<sys::Runner> runner = sys::make_real_runner();
};

}  // namespace

TEST_CASE("found by file name, configured directories first") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  install("fd-null.so", world.builtin);
  CHECK(world.registry().find(constant("FD_NULL"))->path == world.builtin + "/fd-null.so");
  install("fd-null.so", world.first);
  install("ft-null.so", world.first);
  const Registry registry = world.registry();
  CHECK(registry.find(constant("FD_NULL"))->path == world.first + "/fd-null.so");
  const auto all = registry.list();
  REQUIRE(all.size() == 3);
  CHECK(all[0].constant == "FD_NULL");
  CHECK_FALSE(all[0].shadowed);
  CHECK(all[0].note.name == "null-driver");
  CHECK(all[1].constant == "FT_NULL");
  CHECK(all[2].shadowed);
}

TEST_CASE("extra directories stand before the configured ones, and links to directories are resolved") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  install("fd-null.so", world.builtin);
  install("fd-null.so", world.first);
  const std::string real = world.dir.sub("real");
  install("fd-null.so", real);
  std::filesystem::create_directory_symlink("real", world.dir.path + "/link");
  const Registry registry(world.settings, {world.dir.path + "/link"}, world.builtin, *world.runner);
  CHECK(registry.directories().size() == 3);
  CHECK(registry.find(constant("FD_NULL"))->path == real + "/fd-null.so");
}

TEST_CASE("an unknown constant: file, directories, what is installed, nearest first") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  for (const char *name : {"fd-null.so", "fd-mull-y.so", "ft-zebra.so"})
    install("fd-null.so", world.first, name);
  write_file(world.first + "/README", "");
  write_file(world.first + "/fd-Big.so", "");
  const auto found = world.registry().find(constant("FD_NUL"));
  REQUIRE_FALSE(found.ok());
  CHECK(found.error().is(kPluginNotFound));
  CHECK(found.error().exit() == Exit::not_found);
  CHECK(found.error().message() == "no plugin for FD_NUL: looked for fd-nul.so in " + world.first + ", " +
                                       world.builtin + "; installed: FD_NULL, FD_MULL_Y, FT_ZEBRA");
  CHECK(found.error().hint() == "did you mean FD_NULL?");
}

TEST_CASE("directories that can't be used are named, missing ones are passed over") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  install("fd-null.so", world.builtin);
  world.settings.plugin_dirs = {world.dir.path + "/none"};
  CHECK(world.registry().find(constant("FD_NULL")).ok());
  world.settings.plugin_dirs = {"plugins"};
  const auto relative = world.registry().find(constant("FD_NULL"));
  REQUIRE_FALSE(relative.ok());
  CHECK(relative.error().is(kBadDirectory));
  CHECK(relative.error().message() == "plugin directory 'plugins' is not an absolute path");
  CHECK(world.registry().list().front().problem_id == kBadDirectory.id);
  world.settings.plugin_dirs = {world.first};
  REQUIRE(::chmod(world.first.c_str(), 0777) == 0);
  const auto open = world.registry().find(constant("FD_NULL"));
  REQUIRE_FALSE(open.ok());
  CHECK(open.error().is(kUntrusted));
}

TEST_CASE("a list goes on after a bad file") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  write_file(world.first + "/fd-text.so", "no plugin");
  install("fd-null.so", world.first, "fd-other.so");
  install("ft-null.so", world.first);
  const auto all = world.registry().list();
  REQUIRE(all.size() == 3);
  CHECK(all[0].problem_id == kWrongConstant.id);
  CHECK(all[1].problem_id == kNotElf.id);
  CHECK(all[2].problem_id.empty());
}

TEST_CASE("pairing is decided by the notes") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  install("fd-services.so", world.first);
  install("fd-null.so", world.first);
  install("ft-null.so", world.first);
  const Registry registry = world.registry();
  const auto paired = [&](const char *driver) {
    return registry.check_pairing({constant(driver), constant("FT_NULL"), "/a"});
  };
  CHECK(paired("FD_NULL").ok());
  const auto refused = paired("FD_SERVICES");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().is(kNotPaired));
  CHECK(refused.error().exit() == Exit::refused);
  CHECK(refused.error().message() == "FD_SERVICES can't use FT_NULL: needs colour, FT_NULL has none");
}

TEST_CASE("500 installed plugins cost a lookup nothing") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  install("fd-null.so", world.first);
  const auto median = [&] {
    std::vector<double> times;
    for (int i = 0; i < 201; ++i) {
      const Registry registry = world.registry();
      const auto from = std::chrono::steady_clock::now();
      REQUIRE(registry.find(constant("FD_NULL")).ok());
      times.push_back(
          std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - from).count());
    }
    std::nth_element(times.begin(), times.begin() + 100, times.end());
    return times[100];
  };
  const double alone = median();
  for (int i = 0; i < 500; ++i) install("fd-null.so", world.first, "fd-x" + std::to_string(i) + ".so");
  const double crowded = median();
  MESSAGE("lookup: ", alone, " us alone, ", crowded, " us among 500");
  CHECK(crowded < 3 * alone + 50);  // a scan of 500 notes takes milliseconds
}

TEST_CASE("loaded once; the null driver does its nothing") {
  World world;
  VBD_REQUIRE_OR_SKIP(world.dir.ok, "registry", "no directory with a trusted chain can be made");
  install("fd-null.so", world.first);
  install("ft-null.so", world.first);
  Registry registry = world.registry();
  const auto driver = registry.load(constant("FD_NULL"));
  REQUIRE(driver.ok());
  CHECK(registry.load(constant("FD_NULL")).value() == *driver);
  Plugin &null = **driver;
  CHECK(null.filetype() == nullptr);
  Request request;
  request.image = "/a";
  CHECK(null.call(null.driver()->attach, "attach", request)->text("node") == "/dev/null");
  CHECK_FALSE(null.call(null.driver()->query, "query", request)->flag("attached"));
  const auto missing = null.call(null.driver()->activate, "activate", request);
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().is(kNoOperation));
  CHECK(missing.error().message() == "FD_NULL has no operation activate");
  request.must = 1u << 31;
  const auto unknown = null.call(null.driver()->attach, "attach", request);
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().exit() == Exit::refused);
  const auto filetype = registry.load(constant("FT_NULL"));
  REQUIRE(filetype.ok());
  CHECK((*filetype)->driver() == nullptr);
  REQUIRE((*filetype)->filetype()->image != nullptr);
  CHECK((*filetype)->filetype()->image->flags == VBD_IMAGE_PARALLEL_READ);
}
