// SPDX-License-Identifier: MIT
#include "manager/instance/storage.hpp"

#include <algorithm>
#include <iterator>

#include "core/base/text.hpp"
#include "core/device/lease.hpp"
#include "core/sys/files.hpp"
#include "core/sys/leftover.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/name_lock.hpp"
#include "core/sys/run_record.hpp"
#include "core/sys/spare.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::instance {
namespace {

/// For a whole tree whose top answers; one with very many instances on a slow server takes a while.
constexpr std::chrono::minutes kWalkPatience{2};
constexpr unsigned kDepth = 5;
/// Fewer silent directories may each be a mount of its own.
constexpr std::size_t kMany = 8;
constexpr std::string_view kPrefix = ".vbd-", kSuffix = ".tmp";
constexpr std::size_t kUuidLength = 36, kRandomDigits = 16;

/// What stands between prefix and suffix of a temporary name, or "".
std::string_view between(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) || name.size() < kPrefix.size() + kSuffix.size())
    return {};
  return name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
}

Result<std::string> read_one(const std::vector<sys::AllowedDir> &allowed, const std::string &directory) {
  VBD_TRY_ASSIGN(auto opened, sys::open_dir_below(directory, allowed));
  auto content = sys::read_record_at(opened.get(), kInstanceFile, kInstanceFileLimit);
  return content ? content : content.error().at(directory);
}

// What a child answers is a line of words (sys::record): "content TEXT", or an error with all it has.
constexpr const char *kContent = "content";

std::string to_answer(const Result<std::string> &content) {
  return sys::record::to_line(content ? sys::record::Words{kContent, *content}
                                      : sys::record::error_answer(content.error()));
}

Result<std::string> from_answer(const std::string &answer) {
  VBD_TRY_ASSIGN(auto words, sys::record::from_line(answer));
  if (words.size() == 2 && words.front() == kContent) return std::move(words.back());
  return sys::record::to_error(words);
}

bool is_directory(int parent, const std::string &name) {
  auto info = sys::file_info_at(parent, name);
  return info.ok() && info->is_directory();
}

struct Rules {
  const std::vector<sys::AllowedDir> &allowed;
  std::int64_t owner;  ///< of images, as configured; -1 none
};

void walk(const std::string &path, const Rules &rules, unsigned depth, Walk &out) {
  auto directory = sys::open_dir_below(path, rules.allowed);
  if (!directory) return;
  auto names = sys::list_dir(directory->get());
  if (!names) return;
  const auto has = [&](std::string_view name) {
    return std::find(names->begin(), names->end(), name) != names->end();
  };
  if (has(kInstanceFile)) {
    out.instances.push_back(path);
    return;
  }
  if (auto left = sys::left_temp_files(directory->get(), rules.owner)) {
    for (const auto &name : *left) out.files.push_back(path + "/" + name);
  }
  if (has(sys::OperationLock::kFileName) && std::all_of(names->begin(), names->end(), is_own_or_ghost)) {
    out.locks_only.push_back(path);
  }
  for (const auto &name : *names) {
    if (name == "lost+found" || !is_directory(directory->get(), name)) continue;
    if (is_temporary_directory(name)) {
      out.leftovers.push_back(path + "/" + name);
    } else if (depth < kDepth) {
      walk(path + "/" + name, rules, depth + 1, out);
    }
  }
}

/// Where each kind of directory goes, and its word in a child's answer.
struct Destination {
  std::string_view word;
  std::vector<std::string> Walk::*paths;
};
constexpr Destination kDestinations[] = {{"instance", &Walk::instances},
                                         {"leftover", &Walk::leftovers},
                                         {"lock", &Walk::locks_only},
                                         {"file", &Walk::files}};

/// "instance PATH leftover PATH": what a child answers.
std::string packed(const Walk &walk) {
  sys::record::Words words;
  for (const Destination &found : kDestinations) {
    for (const auto &path : walk.*found.paths) {
      words.emplace_back(found.word);
      words.push_back(path);
    }
  }
  return sys::record::to_line(words);
}

/// False when the child's answer is none, cut short.
bool unpack(const std::string &answer, Walk &walk) {
  if (answer.empty()) return true;
  auto words = sys::record::from_line(answer);
  if (!words || words->size() % 2 != 0) return false;
  for (std::size_t i = 0; i < words->size(); i += 2) {
    const auto *found = std::find_if(std::begin(kDestinations), std::end(kDestinations),
                                     [&](const Destination &one) { return one.word == (*words)[i]; });
    if (found == std::end(kDestinations)) return false;
    (walk.*found->paths).push_back(std::move((*words)[i + 1]));
  }
  return true;
}

void sort_unique(std::vector<std::string> &paths) {
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
}

}  // namespace

std::vector<sys::AllowedDir> allowed_for(const config::Settings &settings, const std::string &path) {
  std::vector<std::string> fitting;
  for (const auto &directory : settings.allowed_dirs) {
    if (path == directory || path.starts_with(directory + "/")) fitting.push_back(directory);
  }
  return sys::resolve_allowed(fitting.empty() ? settings.allowed_dirs : fitting);
}

std::vector<std::optional<std::string>> in_children(const std::vector<std::string> &directories,
                                                    const sys::ChildTask &task, Silent *silent) {
  std::map<std::string, std::vector<std::size_t>> by_parent;
  for (std::size_t i = 0; i < directories.size(); ++i) by_parent[sys::dir_name(directories[i])].push_back(i);
  std::vector<std::vector<std::size_t>> groups;
  for (const auto &[parent, items] : by_parent) {
    if (silent == nullptr || !silent->contains(parent)) groups.push_back(items);
  }
  auto answers = sys::run_in_children(directories.size(), groups, task, sys::kStoragePatience);
  for (const auto &[parent, items] : by_parent) {
    const auto answered = [&](std::size_t item) { return answers[item].has_value(); };
    if (silent != nullptr && items.size() >= kMany && std::none_of(items.begin(), items.end(), answered))
      silent->insert(parent);
  }
  return answers;
}

const std::vector<sys::AllowedDir> &AllowedCache::of(const std::string &directory) {
  const auto [found, is_new] = by_parent_.try_emplace(sys::dir_name(directory));
  if (is_new) found->second = allowed_for(settings_, directory);
  return found->second;
}

std::vector<FileText> read_instance_files(const config::Settings &settings,
                                          const std::vector<std::string> &directories, Silent *silent) {
  AllowedCache allowed(settings);  // filled in the children only
  const auto read = [&](std::size_t i) {
    return to_answer(read_one(allowed.of(directories[i]), directories[i]));
  };
  const auto answers = in_children(directories, read, silent);
  std::vector<FileText> out(directories.size());
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i] && !answers[i]->empty()) out[i] = from_answer(*answers[i]);
  }
  return out;
}

Walk walk_storage(const config::Settings &settings) {
  const auto &directories = settings.allowed_dirs;
  std::vector<std::vector<std::size_t>> each;
  for (std::size_t i = 0; i < directories.size(); ++i) each.push_back({i});
  const auto ownership = config::image_ownership(settings);
  const std::int64_t owner = ownership ? ownership->uid : -1;
  const auto walk_one = [&](std::size_t i, unsigned from) {
    Walk found;
    const auto allowed = sys::resolve_allowed({directories[i]});
    for (const auto &directory : allowed) walk(directory.canonical, {allowed, owner}, from, found);
    return packed(found);
  };
  // At the greatest depth, nothing below is opened.
  const auto answering = sys::run_in_children(
      directories.size(), each, [&](std::size_t i) { return walk_one(i, kDepth); }, sys::kStoragePatience);
  const auto walked = sys::run_in_children(
      directories.size(), each, [&](std::size_t i) { return answering[i] ? walk_one(i, 0) : std::string(); },
      kWalkPatience);
  Walk out;
  for (std::size_t i = 0; i < directories.size(); ++i) {
    if (!answering[i] || !walked[i] || !unpack(*walked[i], out)) out.silent.push_back(directories[i]);
  }
  sort_unique(out.instances);  // allowed directories may lie below each other
  sort_unique(out.leftovers);
  sort_unique(out.locks_only);
  sort_unique(out.files);
  return out;
}

std::string temporary_name(const std::string &uuid) {
  return text::cat(kPrefix, uuid, kSuffix);
}

bool is_temporary_directory(const std::string &name) {
  const auto inner = between(name);
  return inner.size() == kUuidLength &&
         inner.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
}

bool is_own_file(const std::string &name) {
  if (name == kInstanceFile || name == sys::OperationLock::kFileName) return true;
  if (name == device::kLeaseFile || name == sys::NameLock::kFileName || sys::is_spare(name)) return true;
  // As sys::TempFile names them: the final name, a dot, random digits.
  const auto inner = between(name);
  if (inner.size() < kRandomDigits + 2) return false;
  const auto end = inner.substr(inner.size() - kRandomDigits - 1);
  return end.front() == '.' && end.substr(1).find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_own_or_ghost(const std::string &name) {
  const auto hex_behind = [&](std::string_view prefix, std::size_t least) {
    return name.starts_with(prefix) && name.size() >= prefix.size() + least &&
           name.find_first_not_of("0123456789abcdef", prefix.size()) == std::string::npos;
  };
  return is_own_file(name) || hex_behind(".nfs", 24) || hex_behind(".fuse_hidden", 16);
}

}  // namespace vbd::instance
