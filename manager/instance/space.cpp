// SPDX-License-Identifier: MIT
#include "manager/instance/space.hpp"

#include <map>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "manager/instance/storage.hpp"

namespace vbd::instance {

std::string space_warning(const config::Settings &settings, int directory, const std::string &path) {
  auto info = sys::filesystem_info(directory);
  if (!info || info->free_bytes >= settings.min_free) return {};
  return text::cat(path, ": ", format_size(info->free_bytes), " free on its filesystem, below min_free ",
                   format_size(settings.min_free));
}

std::vector<Room> room_left(const config::Settings &settings, const std::vector<Entry> &entries) {
  std::map<std::uint64_t, Room> rooms;  // by device
  for (const Entry &entry : entries) {
    // The others' storage may not answer, or is not theirs.
    const bool readable =
        entry.state == State::stopped || entry.state == State::running || entry.state == State::interrupted;
    if (!readable) continue;
    const std::string &path = entry.record.directory;
    auto directory = sys::open_dir_below(path, allowed_for(settings, path));
    if (!directory) continue;
    auto own = sys::file_info(directory->get());
    auto filesystem = sys::filesystem_info(directory->get());
    if (!own || !filesystem) continue;
    Room &room = rooms[own->id.device];
    if (room.directory.empty()) room = {path, filesystem->total_bytes, filesystem->free_bytes, 0};
    for (const DiskRecord &disk : entry.record.disks) {
      auto image = sys::file_info_at(directory->get(), disk.file);
      if (image && image->allocated < disk.size) room.promised += disk.size - image->allocated;
    }
  }
  std::vector<Room> list;
  for (auto &[device, room] : rooms) list.push_back(std::move(room));
  return list;
}

}  // namespace vbd::instance
