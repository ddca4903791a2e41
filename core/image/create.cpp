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

/// Loads the filetype and completes the options: what create and check_create share.
struct Prepared {
  plugin::Plugin *filetype;
  plugin::Values params;
};
Result<Prepared> prepare(plugin::Registry &registry, const CreateSpec &spec, const std::string &where) {
  if (auto size = check_image_size(spec.size, where); !size) return size.error();
  auto filetype = registry.load(spec.filetype);
  if (!filetype) return filetype.error();
  if ((*filetype)->filetype()->create == nullptr) {
    return Error(plugin::kNoOperation, text::cat(where, ": ", spec.filetype.str(), " can't create images"));
  }
  auto params = (*filetype)->image_params(spec.options, where);
  if (!params) return params.error();
  return Prepared{*filetype, std::move(*params)};
}

/// What killed runs left of this very image.
void drop_stale(int directory, const std::string &name) {
  auto stale = sys::stale_temp_files(directory);
  if (!stale) return;
  for (const std::string &left : *stale) {
    if (!left.starts_with(text::cat(".vbd-", name, "."))) continue;
    if (auto gone = sys::unlink_at(directory, left); !gone) log::warn(gone.error().message());
  }
}

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

Result<void> check_image_size(std::uint64_t size, const std::string &where) {
  if (size >= kSectorSize && size <= kMaxImageSize && size % kSectorSize == 0) return {};
  return Error(kBadSize, text::cat(where, ": size ", size, " bytes: must be a multiple of 512 from 512 to ",
                                   kMaxImageSize));
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

Result<void> check_create(plugin::Registry &registry, const CreateSpec &spec, const std::string &where) {
  auto prepared = prepare(registry, spec, where);
  if (!prepared) return prepared.error();
  return {};
}

Result<void> create(plugin::Registry &registry, int directory, const std::string &name,
                    const std::string &path, const CreateSpec &spec) {
  const std::string where = text::printable(path);
  auto prepared = prepare(registry, spec, where);
  if (!prepared) return prepared.error();
  if (auto taken = sys::file_info_at(directory, name); taken) {
    return Error(sys::kExists, where + ": exists already", "choose another name, or remove it first");
  } else if (!taken.error().is(sys::kNotFound)) {
    return taken.error().at(where);
  }
  drop_stale(directory, name);

  auto temp = sys::TempFile::create(directory, name, spec.ownership);
  if (!temp) return temp.error().at(where);
  const sys::HostFile file(temp->fd(), spec.sync ? 0u : std::uint32_t{VBD_FILE_NO_SYNC});
  plugin::Request request;
  request.image = path;
  request.file = file.file();
  request.bytes = spec.size;
  request.params = prepared->params;
  auto made = prepared->filetype->call(prepared->filetype->filetype()->create, "create", request);
  if (!made) return made.error().at(where);
  auto published = std::move(*temp).publish_new(spec.sync);
  if (!published) return published.error().at(where);
  return {};
}

Result<void> remove(plugin::Registry &registry, const Constant &filetype, int directory,
                    const std::string &name, const std::string &path, bool assume_unused) {
  const std::string where = text::printable(path);
  auto found = registry.find(filetype);
  if (!found) return found.error();
  auto fd = open_entry(directory, name, path);
  if (!fd) return fd.error();
  if (auto unused = refuse_users(fd->get(), path, assume_unused); !unused) return unused.error();
  if (auto locked = sys::lock_image(fd->get(), sys::ImageLockMode::exclusive, path); !locked)
    return locked.error();

  if (found->note.ops.contains("remove")) {
    auto plugin = registry.load(filetype);
    if (!plugin) return plugin.error();
    const sys::HostFile file(fd->get());
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
