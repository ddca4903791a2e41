// SPDX-License-Identifier: MIT
#include <algorithm>

#include "core/base/text.hpp"
#include "core/device/disk.hpp"
#include "core/sys/components.hpp"
#include "core/sys/host.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {
namespace {

Result<LogicalId> id_of(const Record &record) {
  VBD_TRY_ASSIGN(auto driver, Constant::parse(record.driver, PluginKind::driver));
  VBD_TRY_ASSIGN(auto filetype, Constant::parse(record.filetype, PluginKind::filetype));
  return LogicalId{driver, filetype, record.image};
}

/// "mount:DIR" holders whose mount is no longer there.
std::vector<std::string> lost_mounts(const Record &record) {
  constexpr std::string_view kPrefix = "mount:";
  std::vector<std::string> lost;
  auto mounts = sys::mounts_of_node(record.node);
  if (!mounts) return lost;
  for (const std::string &holder : record.holders) {
    if (!holder.starts_with(kPrefix)) continue;
    const std::string directory = holder.substr(kPrefix.size());
    const auto real = sys::canonical_path(directory);
    const bool there = std::any_of(mounts->begin(), mounts->end(), [&](const sys::Mount &mount) {
      return mount.target == directory || (real && mount.target == *real);
    });
    if (!there) lost.push_back(holder);
  }
  return lost;
}

/// Takes the first wrong thing of one record up; nothing when all is well.
std::optional<std::string> problem_of(const Record &record, const Status &status) {
  if (status.state == Status::State::broken) return status.reason;
  if (record.phase != Record::Phase::attached) {
    return text::cat("an ", record.phase == Record::Phase::attaching ? "attach" : "detach",
                     " was interrupted or is under way");
  }
  if (const auto lost = lost_mounts(record); !lost.empty()) {
    return text::cat("no longer mounted, but held by ", words(lost));
  }
  return std::nullopt;
}

/// On a disk that is open and locked.
Result<void> mend(Disk &disk, const Status &status) {
  const bool mounts_only =
      status.state == Status::State::attached && disk.record->phase == Record::Phase::attached;
  auto holders = mounts_only ? lost_mounts(*disk.record) : disk.record->holders;
  if (holders.empty()) holders.emplace_back("cli");
  for (const std::string &holder : holders) {
    if (!disk.record) break;  // the first one was enough: its device was gone
    if (auto done = give_up(disk, holder, false); !done) return done;
  }
  return {};
}

/// Another file has the inode of the one that was attached.
std::optional<Leftover> look_at_former(const Context &context, const Record &seen, const Disk &disk,
                                       bool repair) {
  if (!disk.info || seen.file != disk.info->id || seen.is_of(*disk.info)) return std::nullopt;
  Leftover leftover{seen.image, "recorded of a file that is gone; another one has its inode now", false};
  if (repair) leftover.repaired = Records(context.settings.run_dir).drop(seen).ok();
  return leftover;
}

std::optional<Leftover> look_at(const Context &context, const Record &seen, bool repair) {
  Leftover leftover{seen.image, {}, false};
  auto id = id_of(seen);
  // With the lock: a command that is at work has ended then, and none begins.
  auto disk = id ? open_for_others(context, *id, repair) : Result<Disk>(id.error());
  auto status = disk ? status_of(*disk) : Result<Status>(disk.error());
  if (!status) {
    leftover.problem = status.error().message();
    return leftover;
  }
  if (!disk->record) return look_at_former(context, seen, *disk, repair);
  auto problem = problem_of(*disk->record, *status);
  if (!problem) return std::nullopt;
  leftover.problem = std::move(*problem);
  if (!repair) return leftover;
  if (auto mended = mend(*disk, *status); mended) {
    leftover.repaired = true;
  } else {
    leftover.problem += text::cat("; ", mended.error().message());
  }
  return leftover;
}

}  // namespace

Result<std::vector<Leftover>> scan(const Context &context, bool repair) {
  const Records records(context.settings.run_dir);
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  VBD_TRY_ASSIGN(auto all, records.all(true));
  std::vector<Leftover> leftovers;
  for (const Record &record : all) {
    if (record.boot_id == boot) {
      if (auto leftover = look_at(context, record, repair)) leftovers.push_back(std::move(*leftover));
      continue;
    }
    Leftover leftover{record.image, "recorded before this host was last started", false};
    if (repair) {
      VBD_TRY(records.drop(record));
      leftover.repaired = true;
    }
    leftovers.push_back(std::move(leftover));
  }
  for (Leftover &unknown : unrecorded_devices(context, all)) leftovers.push_back(std::move(unknown));
  VBD_TRY_ASSIGN(auto swept, records.sweep(repair));
  for (std::string &path : swept) leftovers.push_back({std::move(path), "left by a killed command", repair});
  return leftovers;
}

}  // namespace vbd::device
