// SPDX-License-Identifier: MIT
#include "core/device/lease.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/lease_store.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "core/sys/name_lock.hpp"
#include "core/sys/spare.hpp"

namespace vbd::device {
namespace {

/// Another node writes a small file; longer than that it is dead or its storage hangs.
constexpr std::chrono::milliseconds kPatience{5000};

Result<sys::NameLock> lock_names(int directory, const std::string &path, const config::Settings &settings) {
  return sys::NameLock::acquire(directory, path, settings.node, kPatience);
}

/// Whoever broke the lock meanwhile may have written at the same time.
Result<void> check_undisturbed(const sys::NameLock &lock, const std::string &path) {
  if (lock.held()) return {};
  return Error(sys::kLocked, text::cat(text::printable(path), ": the lease was broken while it was written"),
               "look at it with vbd lease show, then try again");
}

/// What the instance that lists the image says, and each store, in their order; nothing of those that have
/// nothing to do with it.
struct Said {
  std::optional<InstanceRecord> instance;
  std::vector<std::optional<Lease>> leases;
};

Result<Said> ask_all(const LeaseSpot &spot, std::optional<InstanceRecord> instance, bool lenient) {
  Said said;
  if (instance && (spot.file.empty() || lists(*instance, spot.file))) said.instance = std::move(instance);
  for (const LeaseStore &store : lease_stores()) {
    auto lease = store.read(spot, said.instance ? &*said.instance : nullptr);
    const bool unseen = !lease && lenient && lease.error().is(sys::kPermission);
    if (!lease && !unseen) return lease.error();
    said.leases.push_back(unseen ? std::nullopt : std::move(*lease));
  }
  return said;
}

Result<Said> read_all(const LeaseSpot &spot, bool lenient) {
  auto instance = read_instance(spot.directory, spot.directory_path, true);
  if (!instance && !lenient) return instance.error();
  if (!instance) log::info(instance.error().message());
  return ask_all(spot, instance ? std::move(*instance) : std::optional<InstanceRecord>(), lenient);
}

std::string image_of(const LeaseSpot &spot) {
  return spot.file.empty() ? spot.directory_path : text::cat(spot.directory_path, "/", spot.file);
}

/// Writes `lease` where it belongs, and frees it in the other places that say this node has it.
Result<void> write_all(const LeaseSpot &spot, const std::vector<std::optional<Lease>> &before,
                       const Lease &lease, const config::Settings &settings, bool broken = false) {
  bool written = false;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!before[i]) continue;
    Lease next = *before[i];
    if (!written) {
      next = lease;
    } else if (next.held() && (broken || next.node == settings.node)) {
      next.free();
    }
    written = true;
    if (next == *before[i]) continue;
    if (auto done = lease_stores()[i].write(spot, next, settings); !done) return done;
  }
  return {};
}

std::uint64_t newest(const std::vector<std::optional<Lease>> &all) {
  std::uint64_t generation = 0;
  for (const auto &lease : all) {
    if (lease) generation = std::max(generation, lease->generation);
  }
  return generation;
}

/// Only a lack of room counts: what else stands in the way of a spare does not in the way of a record.
Result<void> keep_room_here(const sys::NameLock &lock, int directory, const std::string &path,
                            std::size_t bytes, const config::Settings &settings) {
  auto kept = sys::keep_spare(directory, bytes);
  if (kept) kept = lock.keep_spare(settings.node);
  if (kept || !kept.error().is(sys::kNoSpace)) return {};
  return Error(sys::kNoSpace, text::cat(text::printable(path), ": ", kept.error().message()),
               "free some space there: what is begun now must be ended when all is full");
}

/// Of the larger of the records there, with a lease more.
std::size_t record_bytes(int directory) {
  constexpr std::size_t kOneLease = 512;
  std::uint64_t most = 0;
  for (const LeaseStore &store : lease_stores()) {
    if (const auto info = sys::file_info_at(directory, store.file)) most = std::max(most, info->size);
  }
  return static_cast<std::size_t>(most) + kOneLease;
}

Result<void> check_all(const LeaseSpot &spot, const Said &said, const config::Settings &settings) {
  const std::string image = image_of(spot);
  for (const auto &lease : said.leases) {
    if (!lease) continue;
    if (auto free = check_lease(*lease, settings, image, image); !free) return free;
  }
  return said.instance ? check_operation(*said.instance, settings, image) : Result<void>();
}

}  // namespace

bool is_elsewhere(const Lease &lease, const config::Settings &settings) {
  return lease.held() && lease.node != settings.node;
}

Result<bool> is_ours(const Lease &lease, const config::Settings &settings) {
  if (lease.node != settings.node) return false;
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  return lease.boot_id == boot;
}

Result<Lease> next_lease(const Lease &lease, const config::Settings &settings, const std::string &holder) {
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  return Lease{settings.node, boot, holder, sys::now_rfc3339(), lease.generation + 1};
}

Result<void> check_lease(const Lease &lease, const config::Settings &settings, const std::string &what,
                         const std::string &target) {
  if (!is_elsewhere(lease, settings)) return {};
  const std::string node = text::printable(lease.node);
  return Error(kLeasedElsewhere,
               text::cat(text::printable(what), ": node ", node, " has the lease to write it, for ",
                         text::printable(lease.holder), " since ", text::printable(lease.time)),
               text::cat("stop or detach it on ", node, "; only when that node is dead: vbd lease break ",
                         text::printable(target)));
}

Result<void> check_operation(const InstanceRecord &record, const config::Settings &settings,
                             const std::string &what) {
  if (!record.operation) return {};
  // A file of an earlier vbd does not say: then it was the instance's own node.
  const auto &operation = *record.operation;
  const std::string &node = operation.node.empty() ? record.node : operation.node;
  if (node == settings.node) return {};
  return Error(kOperationElsewhere,
               text::cat(text::printable(what), ": ", text::printable(operation.verb), " of instance ",
                         text::printable(record.name), " began ", text::printable(operation.started),
                         " on node ", text::printable(node), " and is not finished"),
               text::cat("wait, or finish it there; only when that node is dead: vbd lease break ",
                         text::printable(record.name), ", then the next command here finishes or undoes it"));
}

Result<InstanceRecord> with_origin(InstanceRecord record, const config::Settings &settings) {
  if (!record.operation || !record.operation->node.empty()) return record;
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  record.operation->node = settings.node;
  record.operation->boot_id = boot;
  return record;
}

Result<void> replace_instance(int directory, const std::string &path, InstanceRecord record,
                              const config::Settings &settings, const InstanceRecord *overrule) {
  VBD_TRY_ASSIGN(auto lock, lock_names(directory, path, settings));
  VBD_TRY_ASSIGN(auto there, read_instance(directory, path, false));
  if (there) {
    const InstanceRecord &old = *there;
    const bool same = overrule != nullptr && overrule->lease == old.lease;
    auto allowed = same ? Result<void>() : check_lease(old.lease, settings, path, old.name);
    if (allowed && overrule == nullptr) allowed = check_operation(old, settings, path);
    if (!allowed) return allowed;
    record.lease.generation = std::max(record.lease.generation, old.lease.generation);
  }
  VBD_TRY_ASSIGN(auto stamped, with_origin(std::move(record), settings));
  (void)lock.keep_spare(settings.node);
  VBD_TRY(put_instance(directory, stamped));
  return check_undisturbed(lock, path);
}

Result<void> keep_room(int directory, const std::string &path, std::size_t bytes,
                       const config::Settings &settings) {
  auto lock = lock_names(directory, path, settings);
  return lock ? keep_room_here(*lock, directory, path, bytes, settings) : lock.error();
}

Result<void> drop_spares(int directory) {
  for (const LeaseStore &store : lease_stores()) {
    if (sys::file_info_at(directory, store.file)) return {};
  }
  return sys::drop_spares(directory);
}

Result<SeenLease> see_lease(const LeaseSpot &spot, const config::Settings &settings, bool lenient) {
  VBD_TRY_ASSIGN(auto said, read_all(spot, lenient));
  SeenLease seen;
  const auto rank = [&](const Lease &lease) {
    return is_elsewhere(lease, settings) ? 2 : lease.held() ? 1 : 0;
  };
  for (std::size_t i = 0; i < said.leases.size(); ++i) {
    const auto &lease = said.leases[i];
    if (!lease || (!seen.where.empty() && rank(*lease) <= rank(seen.lease))) continue;
    seen.lease = *lease;
    seen.where = text::cat(spot.directory_path, "/", lease_stores()[i].file);
  }
  if (!seen.lease.held()) seen.lease.generation = newest(said.leases);
  seen.instance = std::move(said.instance);
  seen.changing = sys::name_lock_owner(spot.directory).value_or(std::string());
  return seen;
}

Result<void> refuse_elsewhere(const LeaseSpot &spot, const config::Settings &settings, bool lenient) {
  auto said = read_all(spot, lenient);
  return said ? check_all(spot, *said, settings) : said.error();
}

Result<void> refuse_elsewhere(const LeaseSpot &spot, const config::Settings &settings,
                              const std::optional<InstanceRecord> &instance) {
  auto said = ask_all(spot, instance, false);
  return said ? check_all(spot, *said, settings) : said.error();
}

Result<void> take_lease(const LeaseSpot &spot, const config::Settings &settings, const std::string &holder) {
  VBD_TRY_ASSIGN(auto lock, lock_names(spot.directory, spot.directory_path, settings));
  VBD_TRY_ASSIGN(auto said, read_all(spot, false));
  VBD_TRY(check_all(spot, said, settings));
  for (const auto &lease : said.leases) {
    if (!lease || !lease->held()) continue;
    log::info(text::cat(image_of(spot), ": takes over the lease of ", lease->holder, " since ", lease->time,
                        ", whom this node does not have any more"));
  }
  Lease before;
  before.generation = newest(said.leases);
  VBD_TRY_ASSIGN(auto lease, next_lease(before, settings, holder));
  auto written =
      keep_room_here(lock, spot.directory, spot.directory_path, record_bytes(spot.directory), settings);
  if (written) written = write_all(spot, said.leases, lease, settings);
  if (!written) {
    (void)drop_spares(spot.directory);
    return written;
  }
  return check_undisturbed(lock, spot.directory_path);
}

Result<void> release_lease(const LeaseSpot &spot, const config::Settings &settings) {
  const auto ours = [&](const std::optional<Lease> &lease) { return lease && lease->node == settings.node; };
  VBD_TRY_ASSIGN(auto before, read_all(spot, false));
  if (std::none_of(before.leases.begin(), before.leases.end(), ours)) return {};
  VBD_TRY_ASSIGN(const auto lock, lock_names(spot.directory, spot.directory_path, settings));
  VBD_TRY_ASSIGN(auto said, read_all(spot, false));
  for (std::size_t i = 0; i < said.leases.size(); ++i) {
    if (!ours(said.leases[i])) continue;
    Lease freed = *said.leases[i];
    freed.free();
    if (auto done = lease_stores()[i].write(spot, freed, settings); !done) return done;
  }
  return {};
}

Result<void> break_lease(const LeaseSpot &spot, const config::Settings &settings) {
  VBD_TRY(sys::break_name_lock(spot.directory));
  VBD_TRY_ASSIGN(const auto lock, lock_names(spot.directory, spot.directory_path, settings));
  VBD_TRY_ASSIGN(auto said, read_all(spot, true));
  Lease freed;
  freed.generation = newest(said.leases);
  VBD_TRY(write_all(spot, said.leases, freed, settings, true));
  if (!said.instance || check_operation(*said.instance, settings, {})) return {};
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  said.instance->lease = freed;
  said.instance->operation->node = settings.node;
  said.instance->operation->boot_id = boot;
  return put_instance(spot.directory, *said.instance);
}

}  // namespace vbd::device
