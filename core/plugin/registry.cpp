// SPDX-License-Identifier: MIT
#include "core/plugin/registry.hpp"

#include <algorithm>
#include <set>

#include "core/base/text.hpp"
#include "core/plugin/loaded.hpp"
#include "core/plugin/trust.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"

namespace vbd::plugin {
namespace {

constexpr std::size_t kNamesShown = 20;

/// Without links, so that the trust walk sees the directories that count: /lib itself is a link on Debian.
Result<std::string> canonical(const std::string &directory) {
  if (directory.empty() || directory.front() != '/') {
    return Error(kBadDirectory,
                 text::cat("plugin directory '", text::printable(directory), "' is not an absolute path"),
                 "write the whole path in plugin_dirs or --plugin-dir");
  }
  auto real = sys::canonical_path(directory);
  return real ? real : real.error().at("plugin directory");
}

Result<Found> open_plugin(const std::string &path) {
  VBD_TRY_ASSIGN(auto file, open_trusted(path));
  VBD_TRY_ASSIGN(auto note, read_note(file.get(), path));
  VBD_TRY(check_note(note, path));
  return Found{path, std::move(note)};
}

/// Plugins' file names, sorted. Nothing of the files is looked at.
std::vector<std::string> plugin_files(const std::string &directory) {
  std::vector<std::string> names;
  const auto opened = sys::open_directory(directory);
  if (!opened) return names;
  const auto all = sys::list_dir(opened->get());
  if (!all) return names;
  for (const std::string &name : *all) {
    if (!constant_of_file(name).empty()) names.push_back(name);
  }
  return names;
}

Listed problem_of(std::string path, std::string constant, const Error &error) {
  Listed listed;
  listed.path = std::move(path);
  listed.constant = std::move(constant);
  listed.problem_id = error.id();
  listed.problem = error.message();
  return listed;
}

void list_directory(const std::string &directory, std::set<std::string> &seen, std::vector<Listed> &all) {
  const auto real = canonical(directory);
  if (!real) {
    if (!real.error().is(sys::kNotFound)) all.push_back(problem_of(directory, {}, real.error()));
    return;
  }
  for (const std::string &file : plugin_files(*real)) {
    const std::string path = text::cat(*real, "/", file);
    const auto found = open_plugin(path);
    Listed listed = found ? Listed{} : problem_of(path, constant_of_file(file), found.error());
    if (found) {
      listed.path = path;
      listed.constant = constant_of_file(file);
      listed.note = found->note;
    }
    listed.shadowed = !seen.insert(file).second;
    all.push_back(std::move(listed));
  }
}

}  // namespace

std::string constant_of_file(const std::string &file) {
  if (file.size() < 7 || !file.ends_with(".so") || !(file.starts_with("fd-") || file.starts_with("ft-")))
    return {};
  std::string word = text::upper(file.substr(0, file.size() - 3));
  std::replace(word.begin(), word.end(), '-', '_');
  const auto constant = Constant::parse(word, word[1] == 'D' ? PluginKind::driver : PluginKind::filetype);
  return constant && constant->file_name() == file ? word : std::string();
}

Registry::Registry(const config::Settings &settings, std::vector<std::string> extra_dirs,
                   std::string builtin_dir, sys::Runner &runner)
    : directories_(std::move(extra_dirs)), settings_(settings), runner_(runner) {
  directories_.insert(directories_.end(), settings.plugin_dirs.begin(), settings.plugin_dirs.end());
  if (!builtin_dir.empty()) directories_.push_back(std::move(builtin_dir));
}

Registry::~Registry() = default;

Error Registry::not_found(const Constant &constant) const {
  std::set<std::string> installed;
  for (const std::string &directory : directories_) {
    for (const std::string &file : plugin_files(directory)) installed.insert(constant_of_file(file));
  }
  const auto names = text::nearest_first(constant.str(), {installed.begin(), installed.end()});
  const std::size_t shown = std::min(names.size(), kNamesShown);
  std::string message = text::cat(
      "no plugin for ", constant.str(), ": looked for ", constant.file_name(), " in ",
      text::printable(text::join(directories_, ", ")),
      "; installed: ", names.empty() ? std::string("none") : text::join({names.data(), shown}, ", "));
  if (names.size() > shown) message += text::cat(" and ", names.size() - shown, " more");
  const std::string near = text::did_you_mean(constant.str(), names);
  return Error(kPluginNotFound, message,
               near.empty() ? "install the plugin's file in one of the directories"
                            : text::cat("did you mean ", near, "?"));
}

Result<Found> Registry::look_up(const Constant &constant) const {
  const std::string file = constant.file_name();
  for (const std::string &directory : directories_) {
    const auto real = canonical(directory);
    if (!real && real.error().is(sys::kNotFound)) continue;
    if (!real) return real.error();
    auto found = open_plugin(text::cat(*real == "/" ? "" : *real, "/", file));
    if (found || !found.error().is(sys::kNotFound)) return found;
  }
  return not_found(constant);
}

Result<Found> Registry::find(const Constant &constant) const {
  for (const Found &known : found_) {
    if (known.note.constant == constant.str()) return known;
  }
  auto found = look_up(constant);
  if (found) found_.push_back(*found);
  return found;
}

std::vector<Listed> Registry::list() const {
  std::set<std::string> seen;
  std::vector<Listed> all;
  for (const std::string &directory : directories_) list_directory(directory, seen, all);
  return all;
}

Result<Plugin *> Registry::load(const Constant &constant) {
  for (const auto &known : loaded_) {
    if (known->note().constant == constant.str()) return known.get();
  }
  VBD_TRY_ASSIGN(const auto found, find(constant));
  VBD_TRY_ASSIGN(auto loaded, load_plugin(found, settings_, runner_));
  loaded_.push_back(std::move(loaded));
  return loaded_.back().get();
}

Result<void> Registry::check_pairing(const LogicalId &id) const {
  const auto driver = find(id.driver);
  if (!driver) return driver.error();
  const auto filetype = find(id.filetype);
  if (!filetype) return filetype.error();
  const std::string unmet = unmet_need(driver->note, filetype->note, {});
  if (unmet.empty()) return {};
  return Error(kNotPaired, text::cat(id.driver.str(), " can't use ", id.filetype.str(), ": ", unmet),
               "vbd plugin matrix shows which driver takes which filetype");
}

}  // namespace vbd::plugin
