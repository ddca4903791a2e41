// SPDX-License-Identifier: MIT
#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/image.hpp"
#include "core/sys/host_file.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/usage.hpp"

namespace vbd::image {
namespace {

/// The descriptor of directory/name, opened by its path and compared with the entry.
Result<sys::Fd> open_entry(int directory, const std::string &name, const std::string &path) {
  auto fd = sys::open_image_anywhere(path, sys::Access::read_write);
  if (!fd) return fd.error();
  auto opened = sys::file_info(fd->get());
  auto entry = sys::file_info_at(directory, name);
  if (!opened) return opened.error().at(text::printable(path));
  if (!entry) return entry.error().at(text::printable(path));
  if (opened->id != entry->id) {
    return Error(sys::kInUse, text::cat(text::printable(path), ": somebody replaces it at this moment"),
                 "try again");
  }
  return fd;
}

}  // namespace

Result<std::string> writers_of(int fd, const std::string &path) {
  auto info = sys::file_info(fd);
  if (!info) return info.error().at(text::printable(path));
  auto usage = sys::find_usage(info->id);
  if (!usage) return usage.error().at(text::printable(path));
  std::erase_if(usage->loops, [](const sys::LoopDevice &loop) { return loop.read_only; });
  std::erase_if(usage->processes, [](const sys::ProcessUse &process) { return !process.writes; });
  return usage->describe();
}

Result<void> refuse_users(int fd, const std::string &path, bool assume_unused) {
  auto info = sys::file_info(fd);
  if (!info) return info.error().at(text::printable(path));
  auto usage = sys::find_usage(info->id);
  if (!usage) return usage.error().at(text::printable(path));
  if (usage->any()) {
    return Error(sys::kInUse, text::cat(text::printable(path), ": in use by ", usage->describe()),
                 "stop its user first");
  }
  if (!usage->unseen.empty() && !assume_unused) {
    return Error(kPartialView,
                 text::cat(text::printable(path), ": what uses it can't be told: ", usage->unseen,
                           " can't be looked at"),
                 "run as root, or add --assume-unused");
  }
  return {};
}

Result<void> remove(plugin::Registry &registry, const Constant &filetype, int directory,
                    const std::string &name, const std::string &path, bool assume_unused) {
  const std::string where = text::printable(path);
  VBD_TRY_ASSIGN(auto found, registry.find(filetype));
  VBD_TRY_ASSIGN(auto fd, open_entry(directory, name, path));
  VBD_TRY(refuse_users(fd.get(), path, assume_unused));
  VBD_TRY(sys::lock_image(fd.get(), sys::ImageLockMode::exclusive, path));

  if (found.note.ops.contains("remove")) {
    auto plugin = registry.load(filetype);
    if (!plugin) return plugin.error();
    const sys::HostFile file(fd.get());
    plugin::Request request;
    request.image = path;
    request.file = file.file();
    auto removed = (*plugin)->call((*plugin)->filetype()->remove, "remove", request);
    if (!removed) return removed.error().at(where);
  }
  if (auto gone = sys::unlink_at(directory, name); !gone) return gone.error().at(where);
  if (auto synced = sys::sync_fd(directory); !synced) return synced.error().at(where);
  return {};
}

}  // namespace vbd::image
