// SPDX-License-Identifier: MIT
// Calls of the driver, with the record (vbd.state/1) and the image lock (vbd.lock/1) behind them.
#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/disk.hpp"
#include "core/sys/host.hpp"
#include "core/sys/mount.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {
namespace {

plugin::Request make_request(const Disk &disk) {
  plugin::Request request;
  request.image = disk.place.path;
  request.image_fd = disk.image.get();
  request.format = disk.id.filetype.str();
  request.tag = text::cat("vbdkit:", disk.id.driver.str());
  request.block_size = 512;
  if (disk.record) {
    if (disk.record->read_only) request.must |= VBD_MUST_READONLY;
    request.node = disk.record->node;
    request.properties = disk.record->properties;
    request.params = disk.record->options;
    request.block_size = disk.record->block_size;
  } else if (auto filetype = disk.context.registry.find(disk.id.filetype)) {
    request.properties = filetype->note.properties;
  }
  return request;
}

/// State calls on disk.record. Without `durable` (query) nothing is written.
plugin::CallContext make_context(Disk &disk, bool durable) {
  plugin::CallContext context;
  context.put_state = [&disk, durable](const std::string &key, const std::string *value) -> Result<void> {
    if (!disk.record || !durable) return {};
    if (value != nullptr) {
      disk.record->state[key] = *value;
    } else {
      disk.record->state.erase(key);
    }
    return disk.records.write(*disk.record);
  };
  context.get_state = [&disk](const std::string &key) -> const std::string * {
    if (!disk.record) return nullptr;
    const auto found = disk.record->state.find(key);
    return found == disk.record->state.end() ? nullptr : &found->second;
  };
  if (disk.record) context.state_directory = disk.records.state_directory(disk.record->file);
  return context;
}

void add_lock_calls(Disk &disk, plugin::CallContext &context) {
  const sys::ImageLockMode mode =
      disk.record->read_only ? sys::ImageLockMode::stable : sys::ImageLockMode::exclusive;
  context.release_lock = [&disk] { return sys::unlock_image(disk.image.get()); };
  context.restore_lock = [&disk, mode] { return sys::lock_image(disk.image.get(), mode, disk.place.path); };
  context.lock_held_by = [&disk, mode](std::int64_t pid) -> Result<bool> {
    auto held = sys::process_locks_image(pid, disk.record->file, mode);
    if (!held || *held) return held;
    VBD_TRY_ASSIGN(auto taken, sys::image_lock_conflicts(disk.image.get(), mode));
    if (!taken) return false;
    return Error(sys::kInUse, text::cat(disk.shown(), ": somebody else took the lock meanwhile"));
  };
}

/// Who keeps the node busy, in words; "" when nobody can be seen.
std::string users_of(const std::string &node) {
  std::vector<std::string> users;
  if (node.empty()) return {};
  if (auto mounts = sys::mounts_of_node(node)) {
    for (const auto &mount : *mounts)
      users.push_back(text::cat("mounted at ", text::printable(mount.target)));
  }
  if (auto holders = sys::holders_of_node(node)) {
    for (const auto &holder : *holders) users.push_back(text::cat("held by ", text::printable(holder)));
  }
  if (auto usage = sys::find_node_usage(node); usage && usage->any()) users.push_back(usage->describe());
  return text::join(users, ", ");
}

Error busy_error(const Disk &disk, const Error &error) {
  const std::string &node = disk.record->node;
  const std::string users = users_of(node);
  std::string message =
      text::cat(disk.shown(), ": ", node.empty() ? "its device" : text::printable(node), " is in use");
  message += users.empty() ? text::cat(": ", error.message()) : text::cat(": ", users);
  return Error(kDeviceBusy, message, "unmount it, or end the program that has it open, then detach again");
}

/// Another writable attachment still needs the lease, which is the instance's.
Result<bool> lease_still_needed(const Disk &disk) {
  VBD_TRY_ASSIGN(auto instance, read_instance(disk.place.directory.get(), disk.place.directory_path, true));
  if (!instance || !lists(*instance, sys::base_name(disk.place.path))) return false;
  VBD_TRY_ASSIGN(auto others, others_under_lease(disk, *instance));
  return std::any_of(others.begin(), others.end(), [](const Record &other) { return other.leased; });
}

/// An attachment whose node must not be touched is broken: query and detach say so, attach makes it anew.
void check_answer(const Disk &disk, Observed &observed, const char *operation) {
  if (observed.state != Status::State::attached) return;
  std::string node = observed.facts.text("node");
  if (node.empty() && disk.record) node = disk.record->node;
  if (node.empty()) return;
  const auto good = check_node(disk, node, operation);
  if (good) return;
  observed.state = Status::State::broken;
  observed.bad_node = true;
  observed.reason = good.error().message();
}

}  // namespace

Record new_record(const Disk &disk) {
  Record record;
  record.image = disk.place.path;
  if (disk.info) record.file = disk.info->id;
  if (disk.info) record.birth = disk.info->birth;
  record.driver = disk.id.driver.str();
  record.filetype = disk.id.filetype.str();
  return record;
}

Result<Observed> observe(Disk &disk) {
  Observed observed;
  if (disk.record && disk.record->lent) {  // the driver has no part in it
    observed.state = Status::State::attached;
    return observed;
  }
  if (disk.driver->driver()->query == nullptr) {
    // A driver that can't be asked: the record is all that is known.
    if (disk.record && disk.record->phase != Record::Phase::attaching && !disk.record->node.empty()) {
      observed.state = Status::State::attached;
      observed.facts.put("node", disk.record->node);
    }
    check_answer(disk, observed, "its record");
    return observed;
  }
  plugin::CallContext context = make_context(disk, false);
  VBD_TRY_ASSIGN(auto facts,
                 disk.driver->call(disk.driver->driver()->query, "query", make_request(disk), &context));
  observed.facts = std::move(facts);
  observed.reason = observed.facts.text("broken");
  observed.node_there = observed.facts.flag("attached");
  if (!observed.reason.empty()) {
    observed.state = Status::State::broken;
  } else if (observed.node_there) {
    observed.state = Status::State::attached;
  }
  check_answer(disk, observed, "query");
  return observed;
}

LeaseSpot spot_of(const Disk &disk) {
  return {disk.place.directory.get(), disk.place.directory_path, sys::base_name(disk.place.path)};
}

Result<std::vector<Record>> others_under_lease(const Disk &disk, const InstanceRecord &instance) {
  auto records = disk.records.all();
  if (!records) return records;
  std::erase_if(*records, [&](const Record &other) {
    return other.file == disk.record->file || other.read_only ||
           sys::dir_name(other.image) != disk.place.directory_path ||
           !lists(instance, sys::base_name(other.image));
  });
  return records;
}

Result<bool> keep_lease(const Context &context, const InstanceRecord &instance) {
  const Records records(context.settings.run_dir);
  VBD_TRY_ASSIGN(auto all, records.all());
  bool kept = false;
  for (Record &record : all) {
    const bool covered = !record.read_only && sys::dir_name(record.image) == instance.directory &&
                         lists(instance, sys::base_name(record.image));
    if (!covered) continue;
    kept = true;
    if (record.leased) continue;
    record.leased = true;
    if (auto written = records.write(record); !written) return written.error();
  }
  return kept;
}

Result<plugin::Facts> call_attach(Disk &disk, const plugin::Values &params, bool shared) {
  plugin::CallContext context = make_context(disk, true);
  add_lock_calls(disk, context);
  plugin::Request request = make_request(disk);
  request.params = params;
  if (shared) request.must |= VBD_MUST_SHARED;
  auto facts = disk.driver->call(disk.driver->driver()->attach, "attach", request, &context);
  if (!facts) return facts.error();
  const std::string node = facts->text("node");
  if (!node.starts_with('/') || !text::is_printable_utf8(node)) {
    return Error(plugin::kInternal, text::cat(disk.shown(), ": ", disk.id.driver.str(),
                                              " attached it but named no device node"));
  }
  VBD_TRY(check_node(disk, node, "attach"));
  return facts;
}

Result<void> call_detach(Disk &disk) {
  if (disk.record->lent) return {};
  if (disk.driver->driver()->detach == nullptr && disk.record->node.empty()) return {};  // it made nothing
  plugin::CallContext context = make_context(disk, true);
  VBD_TRY(disk.driver->call(disk.driver->driver()->detach, "detach", make_request(disk), &context));
  return {};
}

Result<void> call_refresh(Disk &disk) {
  plugin::CallContext context = make_context(disk, false);
  VBD_TRY(disk.driver->call(disk.driver->driver()->refresh, "refresh", make_request(disk), &context));
  return {};
}

Result<void> forget(Disk &disk) {
  if (disk.record->leased && disk.place.silent) {
    log::warn(text::cat(disk.shown(), ": its storage does not answer, so this node's lease stays there"));
  }
  if (disk.record->leased && disk.place.directory) {
    VBD_TRY_ASSIGN(auto needed, lease_still_needed(disk));
    auto released = needed ? Result<void>() : release_lease(spot_of(disk), disk.context.settings);
    // The record stays until this works, so that the next detach tries it again.
    if (!released) {
      return released.error().rephrase(
          text::cat("the device is gone, but the lease could not be given up: ", released.error().message()),
          "detach again when that is mended; until then other nodes are kept away");
    }
  }
  auto dropped = disk.records.drop(*disk.record);
  if (dropped) disk.record.reset();
  return dropped;
}

namespace {

/// The driver's detach failed although the device is gone: then data was lost with it.
Result<void> lost_or_failed(Disk &disk, const Error &error) {
  auto seen = error.exit() == Exit::failed ? observe(disk) : Result<Observed>(error);
  if (!seen || seen->state != Status::State::detached) return error;
  if (auto forgotten = forget(disk); !forgotten) log::warn(forgotten.error().message());
  return Error(kLostWrites, error.message(), kLostHint);
}

}  // namespace

Result<void> finish_detach(Disk &disk) {
  disk.record->phase = Record::Phase::detaching;
  // A full RUN_DIR must not keep a device: then a kill in between shows up as a device that is gone.
  if (auto noted = disk.records.write(*disk.record); !noted) log::warn(noted.error().message());
  auto done = call_detach(disk);
  if (!done) done = lost_or_failed(disk, done.error());
  if (!done && done.error().is(kLostWrites)) return done;
  if (!done) {
    disk.record->phase = Record::Phase::attached;
    if (auto noted = disk.records.write(*disk.record); !noted) log::warn(noted.error().message());
    if (done.error().exit() == Exit::busy) return busy_error(disk, done.error());
    return done.error();
  }
  return forget(disk);
}

}  // namespace vbd::device
