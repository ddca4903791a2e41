// SPDX-License-Identifier: MIT
#include "manager/instance/site.hpp"

#include <algorithm>
#include <thread>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/lease.hpp"
#include "core/device/record.hpp"
#include "core/sys/files.hpp"
#include "core/sys/usage.hpp"
#include "manager/instance/adopt.hpp"
#include "manager/instance/os_scripts.hpp"
#include "manager/instance/storage.hpp"
#include "manager/instance/witness.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// Others may pass, so that a hypervisor without privileges reaches an image that it may read; nobody lists.
constexpr std::uint32_t kDirectoryMode = 0711;
const std::string kLockName(sys::OperationLock::kFileName);

bool exists(int directory, const std::string &name) {
  return sys::file_info_at(directory, name).ok();
}

Result<void> unlink_all(int directory, const std::vector<std::string> &names) {
  for (const auto &name : names) {
    if (auto gone = sys::unlink_at(directory, name); !gone) return gone;
  }
  return {};
}

/// Our own files, the lock file last: until then the next run waits or sees the record.
Result<void> unlink_own(int directory) {
  VBD_TRY_ASSIGN(auto names, sys::list_dir(directory));
  std::vector<std::string> own;
  for (const auto &name : names) {
    if (is_own_file(name) && name != kLockName) own.push_back(name);
  }
  own.push_back(kLockName);
  return unlink_all(directory, own);
}

/// Those of a host or server that is gone stay for ever; one that somebody has open can't be removed.
void unlink_ghosts(int directory) {
  auto names = sys::list_dir(directory);
  if (!names) return;
  for (const auto &name : *names) {
    if (is_own_or_ghost(name) && !is_own_file(name)) (void)sys::unlink_at(directory, name);
  }
}

constexpr std::chrono::milliseconds kGhostPatience{2000}, kGhostPause{10};

/// Takes an emptied directory away; `lock` is that of its lock file, and is given up. NFS and FUSE keep a
/// file that is removed while it is open under a name of theirs in the same directory, and free it some time
/// after it was closed: the lock file is one, ours, or that of somebody who waits for the lock.
Result<void> remove_emptied(int parent, const std::string &name, int directory,
                            std::optional<sys::OperationLock> &lock) {
  const auto deadline = std::chrono::steady_clock::now() + kGhostPatience;
  for (;;) {
    if (lock) {
      VBD_TRY(unlink_own(directory));
      lock.reset();
    }
    const bool late = std::chrono::steady_clock::now() >= deadline;
    if (late) unlink_ghosts(directory);
    auto gone = sys::remove_dir_at(parent, name);
    if (gone || late || !gone.error().is(sys::kExists)) return gone;
    std::this_thread::sleep_for(kGhostPause);
    if (!exists(directory, kLockName)) continue;
    // Somebody who waited has made it again, and may even have begun an instance here.
    auto again = sys::OperationLock::acquire(directory, name, std::chrono::milliseconds(0));
    if (exists(directory, kInstanceFile)) return gone;
    if (again) lock = std::move(*again);
  }
}

/// A rename that failed has happened or not: which of its two names the directory bears.
std::string current_name(int parent, const Site &site, const std::string &temporary) {
  auto own = sys::file_info(site.directory.get());
  auto there = sys::file_info_at(parent, temporary);
  return own && there && own->id == there->id ? temporary : sys::base_name(site.path);
}

/// True when the whole directory was removed; false when it has to stay.
Result<bool> remove_whole(const config::Settings &settings, Site &site, const std::string &uuid) {
  VBD_TRY_ASSIGN(auto names, sys::list_dir(site.directory.get()));
  if (!std::all_of(names.begin(), names.end(), is_own_or_ghost)) return false;
  auto parent = sys::open_dir_below(sys::dir_name(site.path), sys::resolve_allowed(settings.allowed_dirs));
  if (!parent) return false;  // an allowed directory itself
  std::string name = temporary_name(uuid);
  // A full filesystem may have no room for the other name; then it goes in place, without the safety of one
  // step.
  if (!sys::rename_dir_at(parent->get(), sys::base_name(site.path), name))
    name = current_name(parent->get(), site, name);
  VBD_TRY(remove_emptied(parent->get(), name, site.directory.get(), site.lock));
  VBD_TRY(sys::sync_fd(parent->get()));
  return true;
}

Result<void> fill_new_directory(const config::Settings &settings, Site &site, const InstanceRecord &record) {
  VBD_TRY_ASSIGN(auto lock,
                 sys::OperationLock::acquire(site.directory.get(), site.path, std::chrono::milliseconds(0)));
  site.lock = std::move(lock);
  return Catalog(settings).create_record(site.directory.get(), record);
}

/// It may bear either name: a rename that could not be made durable has happened all the same.
void discard_new_directory(int parent, Site &site, const std::string &temporary) {
  if (site.directory) {
    (void)unlink_own(site.directory.get());
    site.lock.reset();  // open, its file would keep the directory on some filesystems
    auto own = sys::file_info(site.directory.get());
    auto named = sys::file_info_at(parent, sys::base_name(site.path));
    if (own && named && own->id == named->id)
      (void)remove_emptied(parent, sys::base_name(site.path), site.directory.get(), site.lock);
    (void)remove_emptied(parent, temporary, site.directory.get(), site.lock);
  }
  (void)sys::remove_dir_at(parent, temporary);
}

Result<void> check_free(const Site &site, const std::vector<std::string> &names) {
  for (const auto &name : names) {
    if (exists(site.directory.get(), name))
      return Error(sys::kExists, cat(site.path, "/", name, ": exists already"));
  }
  return {};
}

/// What was published but could not be made durable; never somebody else's.
void withdraw_record(const config::Settings &settings, const Site &site, const InstanceRecord &record) {
  auto there = Catalog(settings).read_record(site.directory.get(), site.path);
  if (there && there->uuid == record.uuid) (void)sys::unlink_at(site.directory.get(), kInstanceFile);
  (void)device::drop_spares(site.directory.get());
}

}  // namespace

Result<void> remove_created(const config::Settings &settings, const Site &site, const std::string &name) {
  if (name == kLockName || name == kInstanceFile) return {};
  const std::string path = cat(site.path, "/", name);
  auto info = sys::file_info_at(site.directory.get(), name);
  if (!info) return info.error().is(sys::kNotFound) ? Result<void>() : info.error();
  VBD_TRY_ASSIGN(auto file,
                 sys::open_image_below(path, sys::resolve_allowed(settings.allowed_dirs), sys::Access::read));
  VBD_TRY(sys::lock_image(file.get(), sys::ImageLockMode::exclusive, path));
  VBD_TRY_ASSIGN(auto usage, sys::find_usage(info->id));
  if (usage.any()) return Error(sys::kInUse, cat(path, ": in use: ", usage.describe()));
  return sys::unlink_at(site.directory.get(), name);
}

Result<Site> open_site(const config::Settings &settings, const std::string &path,
                       std::chrono::milliseconds patience) {
  Site site;
  site.path = path;
  VBD_TRY_ASSIGN(auto directory, sys::open_dir_below(path, sys::resolve_allowed(settings.allowed_dirs)));
  site.directory = std::move(directory);
  VBD_TRY_ASSIGN(auto lock, device::Records(settings.run_dir).lock(site.directory.get(), path, patience));
  site.lock = std::move(lock);
  return site;
}

Result<Site> make_site(const config::Settings &settings, const InstanceRecord &record) {
  const auto allowed = sys::resolve_allowed(settings.allowed_dirs);
  const std::string parent_path = sys::dir_name(record.directory), temporary = temporary_name(record.uuid);
  VBD_TRY_ASSIGN(auto parent, sys::open_dir_below(parent_path, allowed));
  Site site;
  site.path = record.directory;
  auto done = sys::make_dir_at(parent.get(), temporary, kDirectoryMode);
  if (done) {
    auto directory = sys::open_dir_below(cat(parent_path, "/", temporary), allowed);
    if (directory) site.directory = std::move(*directory);
    done = directory ? fill_new_directory(settings, site, record) : directory.error();
  }
  if (done) done = sys::rename_dir_at(parent.get(), temporary, sys::base_name(record.directory));
  if (done) return site;
  discard_new_directory(parent.get(), site, temporary);
  return done.error().at(parent_path);
}

Result<Site> enter_site(const config::Settings &settings, InstanceRecord &record) {
  VBD_TRY_ASSIGN(auto directory,
                 sys::open_dir_below(record.directory, sys::resolve_allowed(settings.allowed_dirs)));
  const bool had_lock = exists(directory.get(), kLockName);
  auto site = open_site(settings, record.directory, std::chrono::milliseconds(0));
  if (!site) {
    const bool made = !had_lock && !site.error().is(sys::kLocked);
    if (made) (void)sys::unlink_at(directory.get(), kLockName);
    return site.error();
  }
  auto done = check_free(*site, record.operation->files);
  if (!had_lock) record.operation->files.push_back(kLockName);
  if (done) done = Catalog(settings).create_record(site->directory.get(), record);
  if (done) return site;
  withdraw_record(settings, *site, record);
  if (!had_lock) (void)sys::unlink_at(site->directory.get(), kLockName);
  return done.error();
}

namespace {

/// What leads to the instance from outside its storage goes. The answer is the names' lock, for as long as
/// the directory still has its name; nothing when the caller has it.
Result<std::optional<sys::OperationLock>> unlist(const Manager &manager, const InstanceRecord &record,
                                                 NamesLock names) {
  const Catalog catalog(manager.settings);
  std::optional<sys::OperationLock> lock;
  if (names == NamesLock::wanted) {
    VBD_TRY_ASSIGN(auto taken, catalog.lock_names());
    lock = std::move(taken);
  }
  VBD_TRY(drop_witness(manager.settings, record.uuid));
  VBD_TRY(catalog.remove_own_pointer(record));
  return lock;
}

}  // namespace

Result<void> forget_site(const Manager &manager, Site &site, const InstanceRecord &record, NamesLock names) {
  VBD_TRY_ASSIGN(const auto lock, unlist(manager, record, names));
  VBD_TRY_ASSIGN(auto whole, remove_whole(manager.settings, site, record.uuid));
  if (whole) return {};
  VBD_TRY(unlink_own(site.directory.get()));
  return sys::sync_fd(site.directory.get());
}

Result<void> undo_add(const Manager &manager, Site &site, const InstanceRecord &record, NamesLock names) {
  // On a full filesystem the lease goes only once the images have made room.
  auto detached = detach_left(manager, record);
  if (!detached && !detached.error().is(sys::kNoSpace)) return detached;
  VBD_TRY(remove_stale_files(site.directory.get()));
  const auto &operation = *record.operation;
  for (const auto &name : operation.files) {
    if (auto gone = remove_created(manager.settings, site, name); !gone) return gone;
  }
  if (!detached) {
    if (detached = detach_left(manager, record); !detached) return detached;
  }
  VBD_TRY(undo_adoptions(manager, site, record));
  if (operation.made_directory) return forget_site(manager, site, record, names);

  VBD_TRY_ASSIGN(const auto lock, unlist(manager, record, names));
  VBD_TRY(sys::unlink_at(site.directory.get(), kInstanceFile));
  VBD_TRY(device::drop_spares(site.directory.get()));
  const bool made_lock =
      std::find(operation.files.begin(), operation.files.end(), kLockName) != operation.files.end();
  if (made_lock) {
    if (auto gone = sys::unlink_at(site.directory.get(), kLockName); !gone) return gone;
  }
  return sys::sync_fd(site.directory.get());
}

Result<void> remove_leftover(const config::Settings &settings, const std::string &path) {
  VBD_TRY_ASSIGN(auto site, open_site(settings, path, std::chrono::milliseconds(0)));
  VBD_TRY_ASSIGN(auto names, sys::list_dir(site.directory.get()));
  if (!std::all_of(names.begin(), names.end(), is_own_or_ghost)) {
    return Error(sys::kExists, cat(path, ": holds files that are not ours"),
                 "look at them and remove the directory yourself");
  }
  // Found before the names lock was held, perhaps.
  if (!is_temporary_directory(sys::base_name(path)) && exists(site.directory.get(), kInstanceFile))
    return Error(sys::kExists, cat(path, ": an instance came into being there"));
  // Another node's add or remove is at work under that name.
  if (auto record = Catalog(settings).read_record(site.directory.get(), path)) {
    if (auto ours = device::check_operation(*record, settings, path); !ours) return ours;
  }
  VBD_TRY_ASSIGN(auto parent, sys::open_parent(path));
  return remove_emptied(parent.get(), sys::base_name(path), site.directory.get(), site.lock);
}

void sweep_leftovers(const config::Settings &settings, const std::string &path) {
  const std::string parent_path = sys::dir_name(path);
  auto parent = sys::open_dir_below(parent_path, sys::resolve_allowed(settings.allowed_dirs));
  if (!parent) return;
  auto names = sys::list_dir(parent->get());
  if (!names) return;
  for (const auto &name : *names) {
    auto info =
        is_temporary_directory(name) ? sys::file_info_at(parent->get(), name) : Error(sys::kNotFound, "");
    if (!info || !info->is_directory()) continue;
    auto gone = remove_leftover(settings, cat(parent_path, "/", name));
    if (!gone) log::info(gone.error().message());
  }
}

Result<void> remove_stale_files(int directory) {
  VBD_TRY_ASSIGN(auto stale, sys::stale_temp_files(directory));
  for (const auto &name : stale) {
    auto info = sys::file_info_at(directory, name);
    if (!info || !info->is_regular()) continue;
    if (auto gone = sys::unlink_at(directory, name); !gone) return gone;
  }
  return {};
}

}  // namespace vbd::instance
