// SPDX-License-Identifier: MIT
// activate-disks and deactivate-disks. Nothing is recorded beyond what device::attach records for each disk:
// a run that was killed half-way is finished by the same verb and undone by the other.
#include <algorithm>
#include <charconv>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/record.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/live_parts.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/sizes.hpp"

namespace vbd::instance {
namespace {

using text::cat;

struct Attempt {
  const Manager &manager;
  const InstanceRecord &record;
  std::string holder;
  std::vector<LogicalId> made;  ///< newly attached, to be given up again when a later one fails

  [[nodiscard]] device::Context context() const { return {manager.settings, manager.registry}; }
};

bool has(const std::vector<std::string> &holders, const std::string &holder) {
  return std::find(holders.begin(), holders.end(), holder) != holders.end();
}

Result<std::string> attach_one(Attempt &attempt, const DiskRecord &disk, bool dry_run) {
  device::AttachSpec spec{logical_id(attempt.record, disk),
                          attempt.holder,
                          disk.mode == DiskMode::ro,
                          disk.driver_options,
                          512,
                          dry_run};
  spec.vetting = attempt.manager.vetting.word;
  auto before = device::query(attempt.context(), spec.id);
  const bool lent = before && before->state == device::Status::State::attached &&
                    before->attachment.node.empty() && has(before->attachment.holders, attempt.holder);
  if (lent) {
    return Error(kRunning,
                 cat(text::printable(spec.id.path), ": the guest of ", attempt.record.name,
                     " has opened it itself, and there is no device"),
                 cat("vbd instance stop ", attempt.record.name));
  }
  VBD_TRY_ASSIGN(auto attached, device::attach(attempt.context(), spec));
  const bool had = before && before->state == device::Status::State::attached &&
                   has(before->attachment.holders, attempt.holder);
  if (!had && !dry_run) attempt.made.push_back(spec.id);
  return attached.node;
}

void give_back(const Attempt &attempt) {
  for (auto id = attempt.made.rbegin(); id != attempt.made.rend(); ++id) {
    auto gone = device::detach(attempt.context(), *id, attempt.holder);
    if (!gone) log::error(gone.error().message());
  }
}

/// Detached for this holder; false: it had nothing. The caller holds the lock of the directory, unless
/// nothing changes. `running`: the guest is there and keeps what it has opened itself.
Result<bool> release(const Attempt &attempt, const LogicalId &id, bool running, bool dry_run) {
  auto status = device::query(attempt.context(), id, !dry_run);
  if (!status) return status.error().is(sys::kNotFound) ? Result<bool>(false) : status.error();
  const auto &holders = status->attachment.holders;
  const bool detached = status->state == device::Status::State::detached;
  if (detached && !status->unrecorded) return false;
  // Without a record it is known by its tag, or somebody has it whom no record knows: detach says whom.
  if (!holders.empty() && !has(holders, attempt.holder)) {
    log::warn(
        cat(text::printable(id.path), ": stays attached for ", text::printable(text::join(holders, ", "))));
    return false;
  }
  if (running && !detached && status->attachment.node.empty()) {
    return Error(device::kDeviceBusy,
                 cat(text::printable(id.path), ": the guest of ", attempt.record.name, " has it open"),
                 cat("vbd instance stop ", attempt.record.name));
  }
  VBD_TRY(device::detach(attempt.context(), id, attempt.holder, dry_run, !dry_run));
  return true;
}

Error is_running(const std::string &name) {
  return {kRunning, cat("instance ", name, ": it runs"),
          cat("vbd instance stop ", name, "; --force detaches what its guest does not have open")};
}

/// A guest must not lose its disks; with force only those go that it does not have open. True: it is there.
Result<bool> check_guest(const Manager &manager, const InstanceRecord &record, bool force) {
  std::optional<GuestRecord> guest;
  auto status = look(manager, record, guest);
  if (!status && !force) return status.error();
  const bool running = guest && (!status || status->there());
  if (!running || force) return running;
  return is_running(record.name);
}

Result<Plan> do_deactivate(const Manager &manager, const InstanceRecord &record, bool force, bool dry_run) {
  VBD_TRY_ASSIGN(auto running, check_guest(manager, record, force));
  const Attempt attempt{manager, record, disk_holder(record), {}};
  Plan plan;
  Result<void> done;
  for (auto disk = record.disks.rbegin(); disk != record.disks.rend(); ++disk) {
    const LogicalId id = logical_id(record, *disk);
    auto gone = release(attempt, id, running, dry_run);
    if (!gone && !done) log::error(gone.error().message());
    if (!gone && done) done = gone.error();  // the others go all the same
    if (gone && *gone) plan.push_back(cat("detach ", id.path, " for ", attempt.holder));
  }
  if (!done) return done.error();
  return plan;
}

/// Its storage is gone: what RUN_DIR says is attached for it is taken back all the same.
Result<Plan> deactivate_lost(const Manager &manager, const std::string &name, const Error &why, bool force,
                             bool dry_run) {
  InstanceRecord record;
  record.name = name;
  const Attempt attempt{manager, record, disk_holder(record), {}};
  const auto records = device::Records(manager.settings.run_dir).all();
  const auto guests = noted_guests(manager.settings);
  if (!records || !guests) return why;
  for (const GuestRecord &guest : *guests) {
    const auto status = status_of(manager, guest);
    if (guest.name == name && !force && (!status || status->there())) return is_running(name);
  }
  Plan plan;
  Result<void> done;
  for (const device::Record &known : *records) {
    if (!known.held_by(attempt.holder)) continue;
    const auto driver = Constant::parse(known.driver, PluginKind::driver);
    const auto filetype = Constant::parse(known.filetype, PluginKind::filetype);
    if (!driver || !filetype) continue;
    const LogicalId id{*driver, *filetype, known.image};
    auto gone = device::detach(attempt.context(), id, attempt.holder, dry_run, false);
    if (!gone && !done) log::error(gone.error().message());
    if (!gone && done) done = gone;
    if (gone) plan.push_back(cat("detach ", id.path, " for ", attempt.holder));
  }
  if (!done) return done.error();
  if (plan.empty()) return why;
  log::warn(cat(why.message(), ": what was attached for it was known from ", manager.settings.run_dir));
  return plan;
}

}  // namespace

std::string disk_holder(const InstanceRecord &record) {
  return cat("instance:", record.name);
}

Result<std::size_t> disk_index(const InstanceRecord &record, const std::string &word) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < record.disks.size(); ++i) {
    if (record.disks[i].file == word) return i;
    names.push_back(cat(i, " (", record.disks[i].file, ")"));
  }
  const std::string number = word.starts_with("disk/") ? word.substr(5) : word;
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
  const bool is_number = error == std::errc{} && end == number.data() + number.size();
  if (is_number && index < record.disks.size()) return index;
  return Error(kNoDisk, cat("instance ", record.name, ": no disk ", text::printable(word)),
               names.empty() ? "it has none" : cat("there are: ", text::join(names, ", ")));
}

Result<Activated> activate_disks(const Manager &manager, const std::string &name, bool dry_run) {
  VBD_TRY_ASSIGN(auto entry, find_settled(manager, name, dry_run));
  const InstanceRecord &record = entry.record;
  VBD_TRY(check_whole(manager, record));
  Attempt attempt{manager, record, disk_holder(record), {}};
  Activated result{manager.settings.node, {}, {}};
  Result<void> done;
  for (std::size_t i = 0; i < record.disks.size() && done; ++i) {
    const LogicalId id = logical_id(record, record.disks[i]);
    auto node = attach_one(attempt, record.disks[i], dry_run);
    if (!node) {
      done = node.error();
      break;
    }
    result.plan.push_back(cat("attach ", id.path, " for ", attempt.holder));
    result.disks.push_back({i, id, *node});
  }
  if (!done) give_back(attempt);
  if (!dry_run) log::audit(cat("instance activate-disks ", name), done ? "done" : done.error().message());
  if (!done) return done.error();
  return result;
}

Result<Plan> deactivate_disks(const Manager &manager, const std::string &name, bool force, bool dry_run) {
  if (dry_run) {
    auto entry = find_settled(manager, name, true);
    if (!entry && is_lost(entry.error())) return deactivate_lost(manager, name, entry.error(), force, true);
    if (!entry) return entry.error();
    return do_deactivate(manager, entry->record, force, true);
  }
  auto work = open_work(manager, name);
  if (!work && is_lost(work.error())) {
    auto lost = deactivate_lost(manager, name, work.error(), force, false);
    log::audit(cat("instance deactivate-disks ", name), lost ? "done" : lost.error().message());
    return lost;
  }
  if (!work) return work.error();
  auto done = do_deactivate(manager, work->record, force, false);
  log::audit(cat("instance deactivate-disks ", name), done ? "done" : done.error().message());
  return done;
}

}  // namespace vbd::instance
