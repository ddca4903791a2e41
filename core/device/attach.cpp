// SPDX-License-Identifier: MIT
// The states of an attachment are those of its record (record.hpp), each written before what it tells of is
// begun; all changes are made under the operation lock of the image's directory.
//
//   state       on this host                      left by
//   none        nothing, or an orphaned device    attach (make): -> attaching
//   attaching   record, state directory, lease,   the driver's attach succeeds: -> attached
//               perhaps a device                  it fails: undone in reverse -> none
//   attached    device (none when lent), holders  another holder joins or one of several leaves: -> attached
//                                                 the last holder leaves: -> detaching
//   detaching   perhaps no device any more        the driver's detach succeeds: lease, then record -> none
//                                                 it is busy or fails: -> attached
//                                                 it fails and the device is gone: -> none, kLostWrites
//
// What a killed run, a dead server or a device taken away leaves, and who repairs it. The record is never
// believed alone: the driver is asked first (observe).
//   attaching or detaching, device whole    the holder's next attach joins it; detach takes it down
//   attaching or detaching, device not      the next attach or detach of anybody (finish_detach)
//   attached, device gone or in part        'broken' in a query; the next attach clears it and attaches anew,
//                                           a detach clears it
//   device without a record                 attach writes the record anew (record_found), detach clears it
//   record of an earlier boot               counts as none; goes in Records::sweep
//   lease that could not be given up        the record stays (forget): the next detach tries again
//   secrets                                 are in no record: an attach brings them along
#include <algorithm>
#include <chrono>
#include <thread>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/disk.hpp"
#include "core/device/lease.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {
namespace {

/// A program that only passes by (a query, an info) has the image open for a moment.
constexpr int kUsageTries = 8;
constexpr std::chrono::milliseconds kUsagePause{125};

Error held_error(const Disk &disk, const std::string &holder, bool read_only) {
  return Error(kHeldByOther,
               text::cat(disk.shown(), ": ", describe(*disk.record), "; ", text::printable(holder),
                         " wants it ", read_only ? "read-only" : "writable"),
               "detach it first");
}

/// The image may have grown since its device was made, here or on another node: whoever gets the device gets
/// the size of today.
Result<void> show_size(Disk &disk, const Observed &observed, bool dry_run) {
  const auto bytes = flat_size(disk);
  const std::string node = observed.facts.text("node");
  if (!bytes || node.empty()) return {};
  const auto shown = sys::node_size(node);
  if (!shown || *shown == *bytes || dry_run) return {};
  if (disk.driver->driver()->refresh == nullptr) {
    log::warn(text::cat(disk.shown(), ": has ", *bytes, " bytes now, ", text::printable(node), " shows ",
                        *shown, "; detach it and attach it again"));
    return {};
  }
  return call_refresh(disk);
}

/// The holder joins what is attached already, or is refused.
Result<Attachment> join(Disk &disk, const AttachSpec &spec, const plugin::Values &options,
                        const Observed &observed) {
  Record &record = *disk.record;
  const bool writer = !record.read_only || !spec.read_only;
  const bool alone = record.holders.size() == 1 && record.held_by(spec.holder);
  if (record.read_only != spec.read_only || record.lent != spec.lend ||
      record.filetype != spec.id.filetype.str() || (writer && !alone && !record.holders.empty())) {
    return held_error(disk, spec.holder, spec.read_only);
  }
  if (record.block_size != spec.block_size) {
    return Error(kHeldByOther,
                 text::cat(disk.shown(), ": ", describe(record), " with blocks of ", record.block_size,
                           " bytes, not of ", spec.block_size),
                 "detach it first");
  }
  if (record.options != options) {
    log::warn(text::cat(disk.shown(), ": attached with other options; they count from the next attach on"));
  }
  VBD_TRY(show_size(disk, observed, spec.dry_run));
  const std::string node = observed.facts.text("node");
  const bool changed = record.phase != Record::Phase::attached || !record.held_by(spec.holder) ||
                       (!node.empty() && node != record.node);
  if (changed && !spec.dry_run) {
    record.phase = Record::Phase::attached;
    if (!record.held_by(spec.holder)) record.holders.push_back(spec.holder);
    if (!node.empty()) record.node = node;
    if (auto written = disk.records.write(record); !written) return written.error();
  }
  return attachment_of(record, observed);
}

/// The record is of a file that is gone, whose inode number this one got: what its driver left goes with it.
Result<void> clear_former(Disk &disk) {
  log::warn(text::cat(disk.shown(), ": has the inode of ", text::printable(disk.record->image),
                      ", which is gone; its record is dropped"));
  plugin::Plugin *const wanted = disk.driver;
  const LogicalId id = disk.id;
  // The lease, too, is another directory's.
  if (sys::dir_name(disk.record->image) != disk.place.directory_path) disk.record->leased = false;
  auto constant = Constant::parse(disk.record->driver, PluginKind::driver);
  auto driver = constant ? disk.context.registry.load(*constant) : Result<plugin::Plugin *>(constant.error());
  if (driver) {
    disk.driver = *driver;
    disk.id.driver = *constant;
  }
  auto done = driver ? finish_detach(disk) : disk.records.drop(*disk.record);
  if (done || !disk.record)
    done = {};  // that writes were lost with a file that is gone is not this one's matter
  disk.driver = wanted;
  disk.id = id;
  disk.record.reset();
  return done;
}

/// The record names another driver: held while that one says attached.
Result<void> settle_other_driver(Disk &disk, const AttachSpec &spec) {
  auto constant = Constant::parse(disk.record->driver, PluginKind::driver);
  auto other = constant ? disk.context.registry.load(*constant) : Result<plugin::Plugin *>(constant.error());
  Error held = held_error(disk, spec.holder, spec.read_only);
  held =
      Error(kHeldByOther,
            text::cat(held.message(), " through ", spec.id.driver.str(), " instead of ", disk.record->driver),
            held.hint());
  if (!other) return held;
  plugin::Plugin *const wanted = disk.driver;
  const LogicalId id = disk.id;
  disk.driver = *other;
  disk.id.driver = *constant;
  auto observed = observe(disk);
  const bool gone = observed && observed->state == Status::State::detached;
  Result<void> result;
  if (!gone) {
    result = held;
  } else if (!spec.dry_run) {
    result = finish_detach(disk);
  }
  disk.driver = wanted;
  disk.id = id;
  if (result) disk.record.reset();
  return result;
}

/// The file was replaced under an attached device: its record has the same path, but another identity.
Result<void> refuse_replaced(Disk &disk) {
  VBD_TRY_ASSIGN(auto by_path, disk.records.find(disk.place.path));
  if (!by_path) return {};
  return Error(
      kHeldByOther,
      text::cat(disk.shown(), ": the file was replaced while the former one is ", describe(*by_path)),
      "detach it first: that finds the former device");
}

/// A device that was found without its record; its lease may be lost as well.
Result<void> record_found(Disk &disk, const AttachSpec &spec, const plugin::Values &options,
                          const Observed &observed) {
  log::warn(text::cat(disk.shown(), ": attached at ", observed.facts.text("node"),
                      " without a record; it is written anew"));
  disk.record = new_record(disk);
  disk.record->read_only = observed.facts.flag("read_only");
  disk.record->block_size = spec.block_size;
  disk.record->options = options;
  disk.record->phase = Record::Phase::attaching;
  disk.record->leased = !disk.record->read_only;
  if (disk.record->read_only || spec.dry_run) return {};
  VBD_TRY_ASSIGN(auto seen, see_lease(spot_of(disk), disk.context.settings));
  VBD_TRY_ASSIGN(auto ours, is_ours(seen.lease, disk.context.settings));
  return ours ? Result<void>() : take_lease(spot_of(disk), disk.context.settings, spec.holder);
}

/// What an earlier, perhaps killed, run left. Nothing: go on and attach.
Result<std::optional<Attachment>> settle(Disk &disk, const AttachSpec &spec, const plugin::Values &options) {
  using Settled = std::optional<Attachment>;
  if (disk.record && !disk.record->is_of(*disk.info)) {
    if (spec.dry_run) {
      disk.record.reset();
    } else if (auto cleared = clear_former(disk); !cleared) {
      return cleared.error();
    }
  }
  if (disk.record && disk.record->driver != spec.id.driver.str()) {
    if (auto other = settle_other_driver(disk, spec); !other) return other.error();
  }
  VBD_TRY_ASSIGN(auto observed, observe(disk));
  const bool there = observed.state == Status::State::attached;
  if (there && !disk.record) {
    if (auto found = record_found(disk, spec, options, observed); !found) return found.error();
  }
  const bool leaving =
      disk.record && disk.record->phase == Record::Phase::detaching && !disk.record->held_by(spec.holder);
  if (there && !leaving) {
    VBD_TRY_ASSIGN(auto joined, join(disk, spec, options, observed));
    return Settled(std::move(joined));
  }
  if (observed.state == Status::State::detached && !disk.record) {
    VBD_TRY(refuse_replaced(disk));
    return Settled();
  }
  if (spec.dry_run) return Settled();
  if (!disk.record) disk.record = new_record(disk);
  if (observed.state == Status::State::detached && disk.record->phase == Record::Phase::attached) {
    log::warn(text::cat(disk.shown(), ": was ", describe(*disk.record),
                        ", but its device is gone; attaching anew"));
  }
  // The rest of a killed attach, of a killed detach, or of a device that broke.
  if (auto cleared = finish_detach(disk); !cleared) {
    return Error(kBroken,
                 text::cat(disk.shown(), ": what is left of an earlier attachment can't be cleared: ",
                           cleared.error().message()),
                 cleared.error().hint());
  }
  return Settled();
}

Result<void> refuse_users(const Disk &disk, bool read_only) {
  for (int attempt = 1;; ++attempt) {
    auto usage = sys::find_usage(disk.info->id);
    if (!usage) return usage.error().at(disk.shown());
    if (read_only) {  // readers do not disturb each other
      std::erase_if(usage->loops, [](const sys::LoopDevice &loop) { return loop.read_only; });
      std::erase_if(usage->processes, [](const sys::ProcessUse &process) { return !process.writes; });
    }
    if (!usage->any()) {
      if (!usage->unseen.empty() && attempt == 1) {
        log::warn(text::cat(disk.shown(), ": ", usage->unseen, " could not be looked at"));
      }
      return {};
    }
    if (!usage->loops.empty() || attempt == kUsageTries) {
      return Error(sys::kInUse, text::cat(disk.shown(), ": in use by ", usage->describe()),
                   "end that use first");
    }
    std::this_thread::sleep_for(kUsagePause);
  }
}

Result<void> take_lock(const Disk &disk, const AttachSpec &spec) {
  const auto mode = spec.read_only ? sys::ImageLockMode::stable : sys::ImageLockMode::exclusive;
  if (!spec.dry_run) return sys::lock_image(disk.image.get(), mode, disk.place.path);
  VBD_TRY_ASSIGN(auto conflict, sys::image_lock_conflicts(disk.image.get(), mode));
  if (conflict) return Error(sys::kInUse, disk.shown() + ": another program holds its lock");
  return {};
}

/// What an image says of itself.
struct Examined {
  std::map<std::string, std::string> properties;
  std::uint64_t size = 0;  ///< virtual
};

/// What policy refuses and what is damaged ends here, before any helper sees the image.
Result<Examined> examine(const Disk &disk) {
  VBD_TRY_ASSIGN(auto filetype, disk.context.registry.find(disk.id.filetype));
  if (const auto bytes = flat_size(disk)) {
    if (disk.info->size == 0) return Error(image::kBadSizeInImage, disk.shown() + ": the file is empty");
    return Examined{filetype.note.properties, *bytes};
  }
  VBD_TRY_ASSIGN(auto info,
                 image::info(disk.context.registry, disk.id.filetype, disk.image.get(), disk.place.path));
  VBD_TRY(image::check_references(info, disk.context.settings, disk.place.path));
  // The ABI hands a driver one file: what lies in a second one would silently read as zeros.
  if (!info.references.empty()) {
    return Error(image::kReference,
                 text::cat(disk.shown(), ": it keeps data in a second file, ",
                           text::printable(info.references.front().name), ", which no driver serves"),
                 "make one file of it first, for example with qemu-img convert");
  }
  const std::string unmet = plugin::unmet_need(disk.driver->note(), filetype.note, info.properties);
  if (!unmet.empty()) {
    return Error(plugin::kNotPaired, text::cat(disk.shown(), ": ", disk.id.driver.str(), " ", unmet));
  }
  return Examined{info.properties, info.virtual_size};
}

/// What the instance says of the image must be so.
Result<void> check_size(const Disk &disk, const std::optional<InstanceRecord> &instance, std::uint64_t size) {
  if (!instance) return {};
  VBD_TRY(image::check_recorded(*instance, disk.place.path, size));
  const DiskRecord *listed = image::listed_disk(*instance, disk.place.path);
  if (listed != nullptr && size > listed->size && !instance->operation) {
    log::warn(text::cat(disk.shown(), ": has ", size, " bytes, and ", listed->size, " as a disk of ",
                        text::printable(instance->name),
                        "; 'vbd instance modify' with size=actual notes it"));
  }
  return {};
}

/// The directory's instance.yaml must be at home, and no other node may write the image: readers beside it
/// would see half of what it writes.
Result<std::optional<InstanceRecord>> check_instance(const Disk &disk, bool read_only) {
  auto instance = read_instance(disk.place.directory.get(), disk.place.directory_path, read_only);
  if (!instance) return instance;
  if (*instance) {
    VBD_TRY(check_home(**instance, disk.place.directory.get(), disk.place.directory_path));
  }
  VBD_TRY(refuse_elsewhere(spot_of(disk), disk.context.settings, *instance));
  return instance;
}

/// Whether the lease is to be taken; sets record.leased, also when an attachment beside this one took it.
Result<bool> plan_lease(Disk &disk, const AttachSpec &spec, const std::optional<InstanceRecord> &instance) {
  if (spec.read_only || spec.leased) return false;
  disk.record->leased = true;
  const bool listed = instance && lists(*instance, sys::base_name(disk.place.path));
  if (!listed) return true;
  VBD_TRY_ASSIGN(auto ours, is_ours(instance->lease, disk.context.settings));
  if (!ours) return true;
  VBD_TRY_ASSIGN(auto others, others_under_lease(disk, *instance));
  if (others.empty()) return true;  // whoever had it was killed
  // None of them has taken it: their guest did, which gives it up.
  disk.record->leased =
      std::any_of(others.begin(), others.end(), [](const Record &other) { return other.leased; });
  return false;
}

Error undo(Disk &disk, Error error) {
  auto cleared = call_detach(disk);
  if (cleared) cleared = forget(disk);
  if (cleared) return error;
  return error.with_hint(text::cat("what it left could not be cleared (", cleared.error().message(),
                                   "); detach it when that is mended"));
}

plugin::Values without_secrets(const plugin::Plugin &driver, plugin::Values values) {
  for (const auto &option : driver.options()) {
    if (option.secret) values.erase(option.name);
  }
  return values;
}

/// Nothing is attached, and everything was checked: the steps that change something.
Result<Attachment> make(Disk &disk, const AttachSpec &spec, const plugin::Values &params,
                        const std::optional<InstanceRecord> &instance, bool shared) {
  VBD_TRY_ASSIGN(auto take, plan_lease(disk, spec, instance));
  VBD_TRY(disk.records.write(*disk.record));
  if (auto made = disk.records.make_state_directory(disk.record->file); !made)
    return undo(disk, made.error());
  if (take) {
    if (auto taken = take_lease(spot_of(disk), disk.context.settings, spec.holder); !taken)
      return undo(disk, taken.error());
  }
  Observed observed;
  if (!spec.lend) {
    auto facts = call_attach(disk, params, shared);
    if (!facts) return undo(disk, facts.error());
    observed.facts = std::move(*facts);
    disk.record->node = observed.facts.text("node");
  }
  disk.record->phase = Record::Phase::attached;
  if (auto written = disk.records.write(*disk.record); !written) return undo(disk, written.error());
  return attachment_of(*disk.record, observed);
}

Result<Attachment> attach_anew(Disk &disk, const AttachSpec &spec, const plugin::Values &params,
                               const std::optional<InstanceRecord> &instance) {
  VBD_TRY(refuse_users(disk, spec.read_only));
  VBD_TRY(take_lock(disk, spec));
  const image::Vetting vetting{spec.vetting, spec.dry_run};
  const auto vet = [&] {
    return image::vet(disk.context.registry, disk.context.settings, disk.id.filetype, disk.image.get(),
                      disk.place.path, vetting);
  };
  // Damage may keep an image from being looked at before it is repaired.
  const bool repairs = spec.vetting == image::Vetting::Word::repair;
  VBD_TRY(repairs ? vet() : Result<void>());
  VBD_TRY_ASSIGN(auto examined, examine(disk));
  VBD_TRY(repairs ? Result<void>() : vet());
  VBD_TRY(check_size(disk, instance, examined.size));
  auto filesystem = sys::filesystem_info(disk.image.get());
  if (!filesystem) return filesystem.error().at(disk.shown());
  if (disk.info->links > 1) {
    log::warn(text::cat(disk.shown(), ": the file has ", disk.info->links, " names"));
  }
  disk.record = new_record(disk);
  disk.record->read_only = spec.read_only;
  disk.record->holders = {spec.holder};
  disk.record->block_size = spec.block_size;
  disk.record->options = without_secrets(*disk.driver, params);
  disk.record->properties = std::move(examined.properties);
  disk.record->lent = spec.lend;
  if (spec.dry_run) return attachment_of(*disk.record, {});
  return make(disk, spec, params, instance, filesystem->shared);
}

}  // namespace

Result<Attachment> attach(const Context &context, const AttachSpec &spec) {
  VBD_TRY_ASSIGN(auto disk, open_for_attach(context, spec));
  VBD_TRY_ASSIGN(auto params, disk.driver->image_params(spec.options, disk.shown()));
  VBD_TRY_ASSIGN(auto instance, check_instance(disk, spec.read_only));
  // Before its own device is handed out again as well, where that costs nothing.
  if (const auto bytes = flat_size(disk); bytes && instance) {
    if (auto whole = image::check_recorded(*instance, disk.place.path, *bytes); !whole) return whole.error();
  }
  VBD_TRY_ASSIGN(auto settled, settle(disk, spec, without_secrets(*disk.driver, params)));
  if (settled) return std::move(*settled);
  return attach_anew(disk, spec, params, instance);
}

}  // namespace vbd::device
