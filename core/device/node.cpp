// SPDX-License-Identifier: MIT
// What a driver says its device is. What follows writes to it: mkfs, a guest OS script, a guest. So one
// question before anybody gets it, also where the answer comes from a record.
#include <algorithm>

#include "core/base/text.hpp"
#include "core/device/disk.hpp"
#include "core/sys/components.hpp"
#include "core/sys/device_node.hpp"
#include "core/sys/usage.hpp"

namespace vbd::device {
namespace {

/// Whether a loop device is the image's: on the image itself, or on a file of the driver's own directory. The
/// name that sysfs has for the file is enough where it fits; after a rename only the file itself tells.
bool belongs(const NodeClaim &claim, const sys::DeviceNode &node) {
  if (node.backing_path.empty() || node.backing_path == claim.image) return true;
  const auto own = sys::canonical_path(claim.state_directory);
  if (own && node.backing_path.starts_with(*own + "/")) return true;
  const auto loops = sys::loops_of(claim.file);
  return loops && std::any_of(loops->begin(), loops->end(),
                              [&](const sys::LoopDevice &loop) { return loop.node == node.canonical; });
}

}  // namespace

Result<void> check_node(const NodeClaim &claim) {
  const auto node = sys::device_node(claim.node);
  std::string why;
  if (!node) {
    why = node.error().message();
  } else if (!belongs(claim, *node)) {
    why =
        text::cat(text::printable(claim.node), ": is a loop device on ", text::printable(node->backing_path));
  } else {
    return {};
  }
  return Error(kBadNode,
               text::cat(text::printable(claim.image), ": ", claim.driver.note().constant, " (",
                         text::printable(claim.driver.path()), ") ", claim.operation,
                         " names a device that is none of this image: ", why),
               "nothing was written to it; the plugin is at fault, ask who made it");
}

Result<void> check_node(const Disk &disk, const std::string &node, std::string_view operation) {
  const sys::FileId file = disk.record ? disk.record->file : disk.info ? disk.info->id : sys::FileId{};
  return check_node(
      NodeClaim{*disk.driver, disk.place.path, file, disk.records.state_directory(file), node, operation});
}

}  // namespace vbd::device
