// SPDX-License-Identifier: MIT
#include "core/sys/leftover.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/usage.hpp"

namespace vbd::sys {
namespace {

constexpr std::time_t kQuiet = 3600;

/// Other hosts may write there without our seeing their locks.
bool may_be_shared(int directory) {
  const auto info = filesystem_info(directory);
  return !info || info->shared || info->type.starts_with("fuse");
}

}  // namespace

Result<std::vector<std::string>> left_temp_files(int directory, std::int64_t owner) {
  auto names = stale_temp_files(directory);
  if (!names || names->empty()) return names;
  const bool shared = may_be_shared(directory);
  std::erase_if(*names, [&](const std::string &name) {
    struct stat st {};
    if (::fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
      return true;
    if (st.st_uid != ::geteuid() && std::int64_t{st.st_uid} != owner) return true;
    return shared && std::time(nullptr) - st.st_mtime < kQuiet;
  });
  return names;
}

Result<void> remove_left_file(int directory, const std::string &name) {
  const auto info = file_info_at(directory, name);
  if (!info) return info.error().is(kNotFound) ? Result<void>() : info.error();
  VBD_TRY_ASSIGN(const auto usage, find_usage(info->id));
  if (usage.any()) return Error{kInUse, text::cat(text::printable(name), ": in use by ", usage.describe())};
  return unlink_at(directory, name);
}

}  // namespace vbd::sys
