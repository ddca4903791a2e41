// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <memory>

#include "core/base/text.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {
namespace {

std::string_view without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

/// The rest of `path` below `directory` ("" for itself), or nothing when it is not below it. Both normal.
const char *rest_below(const std::string &path, const std::string &directory) {
  if (directory == "/") return path.c_str() + 1;
  if (path.compare(0, directory.size(), directory) != 0) return nullptr;
  const char *rest = path.c_str() + directory.size();
  if (*rest == '\0') return rest;
  return *rest == '/' ? rest + 1 : nullptr;
}

std::string below(const std::string &directory, const char *rest) {
  if (*rest == '\0') return directory;
  return directory == "/" ? text::cat("/", rest) : text::cat(directory, "/", rest);
}

}  // namespace

std::string base_name(std::string_view path) {
  path = without_trailing_slashes(path);
  if (path == "/") return {};
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

std::string dir_name(std::string_view path) {
  path = without_trailing_slashes(path);
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(without_trailing_slashes(path.substr(0, slash == 0 ? 1 : slash)));
}

std::string absolute_path(const std::string &path) {
  std::string full = path;
  if (path.empty() || path.front() != '/') {
    const std::unique_ptr<char, decltype(&std::free)> here(::getcwd(nullptr, 0), &std::free);
    full = text::cat(here ? here.get() : "", "/", path);
  }
  std::vector<std::string> kept;
  for (std::string &part : text::split(full, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      kept.push_back(std::move(part));
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  return "/" + text::join(kept, "/");
}

std::vector<AllowedDir> resolve_allowed(const std::vector<std::string> &directories) {
  std::vector<AllowedDir> allowed;
  for (const std::string &directory : directories) {
    if (directory.empty() || directory.front() != '/') continue;
    const std::unique_ptr<char, decltype(&std::free)> real(::realpath(directory.c_str(), nullptr),
                                                           &std::free);
    if (real) allowed.push_back({absolute_path(directory), real.get()});
  }
  return allowed;
}

Result<std::string> confine(const std::string &path, const std::vector<AllowedDir> &allowed) {
  const std::string full = absolute_path(path);
  std::string found;
  std::size_t longest = 0;
  std::string names;
  for (const AllowedDir &directory : allowed) {
    for (const std::string *prefix : {&directory.configured, &directory.canonical}) {
      const char *rest = rest_below(full, *prefix);
      if (rest == nullptr || prefix->size() < longest) continue;
      longest = prefix->size();
      found = below(directory.canonical, rest);
    }
    names += text::cat(names.empty() ? "" : ", ", text::printable(directory.configured));
  }
  if (!found.empty()) return found;
  if (names.empty()) {
    return Error{kOutside, text::cat(text::printable(full), ": none of the allowed directories exists"),
                 "create file_storage_dir, or set allowed_dirs in the configuration"};
  }
  return Error{kOutside, text::cat(text::printable(full), ": lies outside the allowed directories: ", names),
               "move it there, or add its directory to allowed_dirs"};
}

}  // namespace vbd::sys
