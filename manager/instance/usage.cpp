// SPDX-License-Identifier: MIT
#include "manager/instance/usage.hpp"

namespace vbd::instance {
namespace {

/// Native numbers, one a disk: what a child answers.
constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

std::string look_at(const std::vector<sys::AllowedDir> &allowed, const InstanceRecord &record) {
  const auto directory = sys::open_dir_below(record.directory, allowed);
  std::string answer;
  for (const DiskRecord &disk : record.disks) {
    std::uint64_t bytes = kUnknown;
    if (directory) {
      if (const auto info = sys::file_info_at(directory->get(), disk.file); info && info->is_regular())
        bytes = info->allocated;
    }
    answer.append(reinterpret_cast<const char *>(&bytes), sizeof bytes);
  }
  return answer;
}

Usage unpack(const std::string &answer, std::size_t disks) {
  Usage usage(disks);
  if (answer.size() != disks * sizeof(std::uint64_t)) return usage;
  for (std::size_t i = 0; i < disks; ++i) {
    std::uint64_t bytes = 0;
    answer.copy(reinterpret_cast<char *>(&bytes), sizeof bytes, i * sizeof bytes);
    if (bytes != kUnknown) usage[i] = bytes;
  }
  return usage;
}

}  // namespace

std::vector<Usage> see_usage(const config::Settings &settings, const std::vector<Entry> &entries,
                             Silent *silent) {
  std::vector<std::string> directories;
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Entry &entry = entries[i];
    if (entry.state == State::unreachable || entry.state == State::foreign || entry.unreadable) continue;
    directories.push_back(entry.record.directory);
    asked.push_back(i);
  }
  AllowedCache allowed(settings);  // filled in the children only
  const auto look = [&](std::size_t item) {
    return look_at(allowed.of(directories[item]), entries[asked[item]].record);
  };
  const auto answers = in_children(directories, look, silent);
  std::vector<Usage> usage;
  for (const Entry &entry : entries) usage.emplace_back(entry.record.disks.size());
  for (std::size_t item = 0; item < asked.size(); ++item) {
    if (answers[item]) usage[asked[item]] = unpack(*answers[item], usage[asked[item]].size());
  }
  return usage;
}

}  // namespace vbd::instance
