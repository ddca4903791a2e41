// SPDX-License-Identifier: MIT
#include "core/sys/mount.hpp"

#include <algorithm>
#include <cctype>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/device/device.hpp"
#include "core/sys/children.hpp"
#include "core/sys/components.hpp"
#include "core/sys/run.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {
namespace {

std::string holder_of(const std::string &directory) {
  return "mount:" + directory;
}

/// The kernel's name for a partition: "/dev/loop0p1", "/dev/sdz1".
std::string partition_node(const std::string &node, unsigned partition) {
  const bool digit = !node.empty() && std::isdigit(static_cast<unsigned char>(node.back())) != 0;
  return text::cat(node, digit ? "p" : "", partition);
}

Result<void> partition_helper(sys::Runner &runner, const char *verb, const std::string &node,
                              unsigned partition) {
  sys::RunSpec spec;
  spec.argv = {"partx", verb, "--nr", std::to_string(partition), node};
  VBD_TRY(sys::run_checked(runner, spec));
  return {};
}

/// The node to mount; a partition of it is made known to the kernel.
Result<std::string> node_to_mount(const Context &context, const std::string &node, unsigned partition) {
  if (partition == 0) return node;
  if (auto added = partition_helper(context.registry.runner(), "--add", node, partition); !added) {
    return added.error().at(text::cat("partition ", partition, " of ", node));
  }
  return partition_node(node, partition);
}

std::vector<sys::Mount> mounts_at(const std::string &node, const std::string &directory) {
  auto mounts = sys::mounts_of_node(node);
  if (!mounts) return {};
  std::erase_if(*mounts, [&](const sys::Mount &mount) { return mount.target != directory; });
  return std::move(*mounts);
}

Result<void> mount_at(const std::string &node, const MountRequest &request, const sys::MountPoint &point) {
  VBD_TRY_ASSIGN(auto type, sys::filesystem_type(node));
  if (type.empty() || type == "swap") {
    return Error(sys::kUnknownFilesystem,
                 text::cat(text::printable(request.id.path), ": no filesystem that can be mounted on ", node,
                           type.empty() ? "" : ": swap space"),
                 "a disk with a partition table needs the number of the partition");
  }
  return sys::mount_node({node, point, type, request.read_only});
}

/// Partition nodes that mounts of ours came from: "/dev/loop0p2" of "/dev/loop0" is 2.
unsigned partition_of(const std::string &source, const std::string &node) {
  if (source.size() <= node.size() || !source.starts_with(node)) return 0;
  std::string rest = source.substr(node.size());
  if (rest.front() == 'p') rest.erase(0, 1);
  const bool digits = !rest.empty() && rest.size() <= 3 &&
                      std::all_of(rest.begin(), rest.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? static_cast<unsigned>(std::stoul(rest)) : 0;
}

bool holds(const Attachment &attachment, const std::string &directory) {
  const auto &holders = attachment.holders;
  return std::find(holders.begin(), holders.end(), holder_of(directory)) != holders.end();
}

}  // namespace

Result<Attachment> mount(const Context &context, const MountRequest &request) {
  VBD_TRY_ASSIGN(auto point, sys::open_mount_point(sys::absolute_path(request.directory)));
  const std::string &directory = point.path;
  const std::string holder = holder_of(directory);
  AttachSpec spec{request.id, holder, request.read_only, {}, 512, false};
  spec.vetting = request.vetting;
  auto before = holders_of(context, request.id);
  const bool held = before && std::find(before->begin(), before->end(), holder) != before->end();
  auto attached = attach(context, spec);
  if (!attached) return attached.error();
  if (!mounts_at(attached->node, directory).empty()) return attached;  // a repeated call

  auto node = node_to_mount(context, attached->node, request.partition);
  Result<void> mounted = node ? mount_at(*node, request, point) : Result<void>(node.error());
  if (mounted) return attached;
  if (node && request.partition != 0) {
    auto dropped = partition_helper(context.registry.runner(), "--delete", attached->node, request.partition);
    if (!dropped) log::warn(dropped.error().message());
  }
  if (!held) {
    if (auto undone = detach(context, request.id, holder); !undone) log::warn(undone.error().message());
  }
  return mounted.error();
}

namespace {

/// In a child that can be abandoned: an unmount writes, and waits for its storage.
Result<void> unmount_silent(const std::string &target, const std::string &path) {
  const auto unmounted = [&](std::size_t) -> std::string {
    const auto done = sys::unmount(target);
    return done ? "" : done.error().message();
  };
  const auto answer = sys::run_in_children(1, {{0}}, unmounted, std::chrono::seconds(2));
  if (answer.front() && answer.front()->empty()) return {};
  return Error(
      kDeviceBusy,
      answer.front() ? *answer.front()
                     : text::cat(text::printable(target), ": the storage of ", text::printable(path),
                                 " does not answer, and what was written waits for it"),
      text::cat("umount again when it answers; 'umount -l ", target, "' hides the mount until then"));
}

}  // namespace

Result<void> umount(const Context &context, const LogicalId &id, const std::string &directory) {
  // The mount is where the links of the path lead to; who mounted through one has it in the holder's name.
  const std::string given = sys::absolute_path(directory);
  const auto real = sys::canonical_path(given);
  const std::string target = real ? *real : given;
  VBD_TRY_ASSIGN(auto status, query(context, id));
  const Attachment &attachment = status.attachment;
  const std::string holder = holder_of(holds(attachment, target) ? target : given);
  const bool held = holds(attachment, target) || holds(attachment, given);
  const auto mounts =
      attachment.node.empty() ? std::vector<sys::Mount>() : mounts_at(attachment.node, target);
  // Without a record (RUN_DIR was lost) the mount itself shows whose it is.
  if (!held && (mounts.empty() || !attachment.holders.empty())) {
    return Error(sys::kNotMounted, text::cat(text::printable(target), ": ", text::printable(id.path),
                                             " is not mounted there by vbd"));
  }
  Result<void> stored;
  for (const sys::Mount &mount : mounts) {
    // The kernel tells once what could not be written, and an unmount tells nobody.
    if (!status.silent) {
      if (auto written = sys::sync_filesystem(target); !written && stored) stored = written;
    }
    auto done = status.silent ? unmount_silent(target, id.path) : sys::unmount(target);
    if (!done) {
      if (!stored) log::error(stored.error().message());
      return done.error();
    }
    const unsigned partition = partition_of(mount.source, attachment.node);
    if (partition == 0) continue;
    auto dropped = partition_helper(context.registry.runner(), "--delete", attachment.node, partition);
    if (!dropped) log::warn(dropped.error().message());
  }
  auto gone = detach(context, id, holder);
  if (!gone || stored) return gone;
  return Error(kLostWrites,
               text::cat(text::printable(id.path),
                         ": not all that was written reached the image: ", stored.error().message()),
               kLostHint);
}

}  // namespace vbd::device
