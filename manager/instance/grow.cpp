// SPDX-License-Identifier: MIT
// grow-disk. The order: record what is going on, the image, the device, the guest, the catalog's size; an
// image that the guest opened itself is grown by its hypervisor. The image is the truth: whatever happens,
// the catalog ends with the size that the image really has.
#include <algorithm>
#include <charconv>

#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/image.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/grow.hpp"
#include "manager/instance/settle.hpp"
#include "manager/instance/sizes.hpp"
#include "manager/instance/space.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr const char *kVerb = "grow-disk";

struct Goal {
  std::size_t index = 0;
  LogicalId id;
  std::uint64_t from = 0, to = 0;
  enum class How { file, device, guest } how = How::file;  ///< what of it is in use, and so does the growing
  std::optional<RunningGuest> guest = {};                  ///< who must hear of it
};

device::Context context_of(const Manager &manager) {
  return {manager.settings, manager.registry};
}

/// What the words asked for, as the operation keeps it: the same words again go on with it.
std::string request_of(const GrowSpec &spec) {
  return cat(spec.absolute ? "=" : "+", spec.amount);
}

/// `size`: what the image has now.
Result<std::uint64_t> target_size(const GrowSpec &spec, const DiskRecord &disk, std::uint64_t size) {
  const std::string where = cat("instance ", spec.name, ": disk ", disk.file);
  if (!spec.absolute && spec.amount == 0) {
    return Error(kBadSize, cat(where, ": nothing to add"), "give an amount, as in 1G");
  }
  if (spec.absolute) {
    VBD_TRY(image::check_image_size(spec.amount, where));
    if (spec.amount >= size) return spec.amount;
    return Error(kWouldShrink, cat(where, ": has ", size, " bytes; ", spec.amount, " would cut its end off"),
                 "disks only grow");
  }
  // Both are at most 2^63, so that the sum fits.
  if (spec.amount > kMaxImageSize) {
    return Error(kBadSize, cat(where, ": ", spec.amount, " bytes: over the largest size, ", kMaxImageSize));
  }
  VBD_TRY(image::check_image_size(size + spec.amount, where));
  return size + spec.amount;
}

/// The image is open in the hypervisor, which holds its lock: only that can grow it.
Result<Goal::How> check_lent(const InstanceRecord &record, const Goal &goal) {
  const std::string where = cat(text::printable(goal.id.path), ": given to ", disk_holder(record));
  if (!goal.guest) {
    return Error(kCannotGrowAttached, cat(where, ", whose guest has ended"),
                 cat("vbd instance stop ", record.name, ", or start it"));
  }
  if (!goal.guest->profile.commands.grow.empty()) return Goal::How::guest;
  return Error(kCannotGrowAttached,
               cat(where, ", and the ", goal.guest->profile.name, " profile has no 'grow'"),
               "stop it, grow it, and start it again");
}

/// Only a file whose bytes are the guest's can grow under a device, and only where the device can follow.
Result<Goal::How> check_device(const Manager &manager, const LogicalId &id, const device::Status &status) {
  VBD_TRY_ASSIGN(auto follows, device::can_refresh(context_of(manager), id.driver));
  VBD_TRY_ASSIGN(auto filetype, manager.registry.find(id.filetype));
  const auto flat = filetype.note.properties.find("flat");
  if (follows && flat != filetype.note.properties.end() && flat->second == "1") return Goal::How::device;
  return Error(kCannotGrowAttached,
               cat(text::printable(id.path), ": attached at ", status.attachment.node, " for ",
                   text::join(status.attachment.holders, ", "), ", and ",
                   follows ? cat(id.filetype.str(), " can't grow beneath a device")
                           : cat(id.driver.str(), " can't let its device grow")),
               "detach it, grow it, and attach it again");
}

Result<void> see_use(const Manager &manager, const InstanceRecord &record, Goal &goal) {
  VBD_TRY(check_unleased(manager, record));
  VBD_TRY_ASSIGN(auto status, device::query(context_of(manager), goal.id));
  if (status.state == device::Status::State::detached) return {};
  if (status.state == device::Status::State::broken) {
    return Error(device::kBroken, cat(text::printable(goal.id.path), ": ", status.reason),
                 cat("vbd disk detach '", goal.id.str(), "'"));
  }
  const auto &holders = status.attachment.holders;
  if (std::find(holders.begin(), holders.end(), disk_holder(record)) != holders.end()) {
    VBD_TRY_ASSIGN(auto guest, running_guest(manager, record));
    goal.guest = std::move(guest);
  }
  auto how =
      status.attachment.node.empty() ? check_lent(record, goal) : check_device(manager, goal.id, status);
  if (!how) return how.error();
  goal.how = *how;
  return {};
}

Result<Goal> plan_grow(const Manager &manager, const InstanceRecord &record, const GrowSpec &spec) {
  VBD_TRY_ASSIGN(auto index, disk_index(record, spec.disk));
  const DiskRecord &disk = record.disks[index];
  // Words that no size would make right first.
  VBD_TRY(target_size(spec, disk, disk.size));
  Goal goal{index, logical_id(record, disk), disk.size, disk.size};
  VBD_TRY(see_use(manager, record, goal));
  VBD_TRY_ASSIGN(auto size, whole_size(manager, record, disk));
  VBD_TRY_ASSIGN(auto to, target_size(spec, disk, size));
  goal.from = size;
  goal.to = to;
  return goal;
}

Plan describe(const Goal &goal, const DiskRecord &disk) {
  Plan plan;
  if (goal.to > goal.from) {
    plan.push_back(cat("grow ", goal.id.path, " (", goal.id.filetype.str(), ") from ", goal.from, " to ",
                       goal.to, " bytes"));
  } else if (disk.size != goal.to) {
    plan.push_back(cat("note that ", goal.id.path, " has ", goal.to, " bytes"));
  }
  if (goal.how == Goal::How::device) plan.push_back(cat("let the device of ", goal.id.path, " show it"));
  if (goal.guest) plan.push_back(cat("let the guest see it, through ", goal.guest->profile.name));
  return plan;
}

Result<sys::Fd> open_image(const Manager &manager, const LogicalId &id, sys::Access access) {
  return sys::open_image_below(id.path, sys::resolve_allowed(manager.settings.allowed_dirs), access);
}

Result<std::uint64_t> size_in(const Manager &manager, const LogicalId &id, int file) {
  VBD_TRY_ASSIGN(auto info, image::info(manager.registry, id.filetype, file, id.path));
  return info.virtual_size;
}

/// A file: nobody may use it. A device: that has the lock, and we have the device.
Result<sys::Fd> open_to_grow(const Manager &manager, const Goal &goal, bool assume_unused) {
  auto file = open_image(manager, goal.id, sys::Access::read_write);
  if (!file || goal.how == Goal::How::device) return file;
  VBD_TRY(image::refuse_users(file->get(), goal.id.path, assume_unused));
  VBD_TRY(sys::lock_image(file->get(), sys::ImageLockMode::exclusive, goal.id.path));
  return file;
}

/// What is written last: the size as it is. Nothing more can be done when that fails.
Result<void> close_with(const Manager &manager, Work &work, const Goal &goal, std::uint64_t size) {
  work.record.disks[goal.index].size = size;
  return end_operation(manager, work);
}

/// Back to the former size where the image grew after all, then the catalog as the image is.
void undo(const Manager &manager, Work &work, const Goal &goal, int file) {
  auto size = size_in(manager, goal.id, file);
  if (size && *size != goal.from) {
    auto back = image::resize(manager.registry, goal.id.filetype, file, goal.id.path, goal.from, true);
    if (!back) log::warn(back.error().message());
    size = size_in(manager, goal.id, file);
  }
  // With a size that can't be told the next verb looks again.
  auto ended = size ? close_with(manager, work, goal, *size) : Result<void>(size.error());
  if (!ended) log::error(cat("instance ", work.record.name, ": left interrupted: ", ended.error().message()));
}

Result<void> show_growth(const Manager &manager, const Goal &goal, const DiskRecord &disk) {
  Result<void> shown;
  if (goal.how == Goal::How::device) shown = device::refresh(context_of(manager), goal.id);
  if (shown && goal.guest) shown = tell_size(manager, *goal.guest, disk, goal.to);
  if (shown) return {};
  return shown.error().rephrase(
      cat("the image has ", goal.to, " bytes now, ", goal.guest ? "its guest" : "its device",
          " does not see them: ", shown.error().message()),
      "the same command with --absolute and that size tries again");
}

OperationRecord operation_of(const GrowSpec &spec, const Goal &goal, const DiskRecord &disk) {
  OperationRecord operation{kVerb, sys::now_rfc3339(), {}, false, {}};
  operation.details = {{"disk", disk.file},
                       {"request", request_of(spec)},
                       {"from", std::to_string(goal.from)},
                       {"to", std::to_string(goal.to)}};
  return operation;
}

/// The hypervisor grows the image that it has open; what became of it stands in the image.
Result<void> grow_through_guest(const Manager &manager, Work &work, const GrowSpec &spec, const Goal &goal) {
  const DiskRecord disk = work.record.disks[goal.index];
  VBD_TRY(begin_operation(manager, work, operation_of(spec, goal, disk)));
  const auto told = tell_size(manager, *goal.guest, disk, goal.to);
  auto size = real_size(manager, goal.id);
  if (!size) return told ? size.error() : told.error();
  VBD_TRY(close_with(manager, work, goal, *size));
  if (told && *size < goal.to) {
    return Error(kStillSmall, cat(text::printable(goal.id.path), ": ", goal.guest->profile.name,
                                  " has taken the command, but the image has ", *size, " bytes"));
  }
  return told;
}

Result<void> grow_image(const Manager &manager, Work &work, const GrowSpec &spec, const Goal &goal) {
  VBD_TRY_ASSIGN(auto file, open_to_grow(manager, goal, spec.assume_unused));
  const DiskRecord disk = work.record.disks[goal.index];
  auto done = begin_operation(manager, work, operation_of(spec, goal, disk));
  if (done) {
    done = image::resize(manager.registry, goal.id.filetype, file.get(), goal.id.path, goal.to, false);
  }
  if (!done) {
    undo(manager, work, goal, file.get());
    return done;
  }
  const auto shown = show_growth(manager, goal, disk);
  VBD_TRY(close_with(manager, work, goal, goal.to));
  return shown;
}

Result<void> do_grow(const Manager &manager, Work &work, const GrowSpec &spec, const Goal &goal) {
  if (goal.to == goal.from) {
    const DiskRecord disk = work.record.disks[goal.index];
    if (disk.size != goal.to) {  // grown by other hands
      if (auto noted = close_with(manager, work, goal, goal.to); !noted) return noted;
    }
    return show_growth(manager, goal, disk);
  }
  if (goal.how == Goal::How::guest) return grow_through_guest(manager, work, spec, goal);
  return grow_image(manager, work, spec, goal);
}

std::optional<std::uint64_t> number_in(const std::string &text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The same words after a killed run: its goal, not as much again.
Result<GrowSpec> resumed(const Manager &manager, const GrowSpec &spec) {
  auto entry = Catalog(manager.settings).find(spec.name);
  if (!entry || !entry->record.operation || entry->record.operation->verb != kVerb) return spec;
  auto details = entry->record.operation->details;
  auto index = disk_index(entry->record, spec.disk);
  if (!index || entry->record.disks[*index].file != details["disk"] || details["request"] != request_of(spec))
    return spec;
  const auto from = number_in(details["from"]), to = number_in(details["to"]);
  if (!from || !to) return spec;
  // The note may only narrow what the words say.
  const std::uint64_t size = entry->record.disks[*index].size;
  const bool said = spec.absolute ? *to == spec.amount : *to >= *from && *to - *from == spec.amount;
  if (!said || size < *from || size > *to) return spec;
  GrowSpec same = spec;
  same.amount = *to;
  same.absolute = true;
  return same;
}

/// As far as it goes: the next grow-disk tries again.
void show_settled(const Manager &manager, const InstanceRecord &record, const DiskRecord &disk) {
  const LogicalId id = logical_id(record, disk);
  auto status = device::query(context_of(manager), id, true);
  if (!status || status->state != device::Status::State::attached) return;
  Result<void> shown;
  if (!status->attachment.node.empty()) shown = device::refresh(context_of(manager), id);
  if (shown) {
    auto guest = running_guest(manager, record);
    if (!guest) shown = guest.error();
    if (guest && *guest) shown = tell_size(manager, **guest, disk, disk.size);
  }
  if (!shown) log::warn(shown.error().message());
}

}  // namespace

Result<void> settle_grow(const Manager &manager, Work &work) {
  VBD_TRY(remove_stale_files(work.site.directory.get()));
  auto &details = work.record.operation->details;
  for (auto &disk : work.record.disks) {
    if (disk.file != details["disk"]) continue;
    const LogicalId id = logical_id(work.record, disk);
    auto size = real_size(manager, id);
    if (!size) {
      if (!size.error().is(sys::kNotFound)) return size.error();
      continue;  // by hand; verify tells it
    }
    disk.size = *size;
    show_settled(manager, work.record, disk);
  }
  return end_operation(manager, work);
}

Result<Plan> grow_disk(const Manager &manager, const GrowSpec &given, bool dry_run) {
  VBD_TRY_ASSIGN(auto spec, resumed(manager, given));
  VBD_TRY_ASSIGN(auto entry, find_settled(manager, spec.name, dry_run));
  auto goal = plan_grow(manager, entry.record, spec);
  if (!goal) return goal.error();
  Plan plan = describe(*goal, entry.record.disks[goal->index]);
  if (auto directory = sys::open_parent(goal->id.path)) {
    const auto warning = space_warning(manager.settings, directory->get(), entry.record.directory);
    if (!warning.empty()) log::warn(warning);
  }
  if (dry_run) return plan;
  VBD_TRY_ASSIGN(auto work, open_work(manager, spec.name));
  goal = plan_grow(manager, work.record, spec);  // as it is under the lock
  if (!goal) return goal.error();
  auto done = do_grow(manager, work, spec, *goal);
  log::audit(cat("instance grow-disk ", spec.name, " ", goal->id.path, " to ", goal->to),
             done ? "done" : done.error().message());
  if (!done) return done.error();
  return plan;
}

}  // namespace vbd::instance
