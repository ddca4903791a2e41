// SPDX-License-Identifier: MIT
#include "manager/node/check.hpp"

#include <set>

#include "core/base/text.hpp"
#include "core/sys/children.hpp"
#include "core/sys/files.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::node {
namespace {

template <class T>
std::string problem_of(const Result<T> &result) {
  return result ? std::string() : result.error().message();
}

/// Each is loaded, which checks its options too; those that the configuration names must be there.
void check_plugins(const config::Settings &settings, plugin::Registry &registry, std::vector<Check> &checks) {
  std::set<std::string> wanted{settings.default_driver, settings.default_filetype};
  for (const auto &[constant, options] : settings.plugins) wanted.insert(constant);
  for (const plugin::Listed &plugin : registry.list()) {
    if (plugin.shadowed) continue;
    if (plugin.problem.empty()) {
      wanted.insert(plugin.constant);
    } else {
      wanted.erase(plugin.constant);
      checks.push_back({text::cat("plugin ", plugin.constant), plugin.problem});
    }
  }
  for (const std::string &text : wanted) {
    const auto kind = text.starts_with("FT_") ? PluginKind::filetype : PluginKind::driver;
    const auto constant = Constant::parse(text, kind);
    checks.push_back(
        {text::cat("plugin ", text), constant ? problem_of(registry.load(*constant)) : problem_of(constant)});
  }
}

void check_directories(const config::Settings &settings, std::vector<Check> &checks) {
  const auto &directories = settings.allowed_dirs;
  std::vector<std::vector<std::size_t>> each;
  for (std::size_t i = 0; i < directories.size(); ++i) each.push_back({i});
  const auto answers = sys::run_in_children(
      directories.size(), each,
      [&](std::size_t i) {
        const auto allowed = sys::resolve_allowed({directories[i]});
        if (allowed.empty()) return std::string("does not exist");
        return problem_of(sys::open_dir_below(directories[i], allowed));
      },
      sys::kStoragePatience);
  for (std::size_t i = 0; i < directories.size(); ++i) {
    checks.push_back(
        {text::cat("directory ", directories[i]), answers[i].value_or("its storage does not answer")});
  }
}

/// Those that vbd makes itself when it needs them: where they are there, they must be ours.
void check_own_directories(const config::Settings &settings, std::vector<Check> &checks) {
  const std::pair<const std::string *, const sys::TrustWords *> own[] = {
      {&settings.state_dir, &sys::kStateDirectory},
      {&settings.run_dir, &sys::kRunDirectory},
      {&settings.export_dir, &sys::kExportDirectory},
      {&settings.log_dir, &sys::kLogDirectory}};
  for (const auto &[path, words] : own) {
    if (path->empty()) continue;
    const auto opened = sys::open_trusted_directory(*path, *words);
    const bool missing = !opened && opened.error().is(sys::kNotFound);
    checks.push_back({text::cat(words->thing, " ", *path), missing ? "" : problem_of(opened)});
  }
}

}  // namespace

std::vector<Check> check_host(const config::Settings &settings, plugin::Registry &registry) {
  std::vector<Check> checks;
  checks.push_back({"image_owner, image_group", problem_of(config::image_ownership(settings))});
  check_plugins(settings, registry, checks);
  check_directories(settings, checks);
  check_own_directories(settings, checks);
  return checks;
}

}  // namespace vbd::node
