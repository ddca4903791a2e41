// SPDX-License-Identifier: MIT
#include "core/sys/device_node.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"

namespace vbd::sys {

Result<DeviceNode> device_node(const std::string &node) {
  constexpr std::string_view kDev = "/dev/";
  const std::string shown = text::printable(node);
  auto canonical = canonical_path(node);
  if (!canonical) return canonical.error();
  if (!node.starts_with(kDev) || !canonical->starts_with(kDev)) {
    const std::string way =
        *canonical == node ? "lies" : text::cat("leads to ", text::printable(*canonical), ",");
    return Error{kNotBlock, text::cat(shown, ": ", way, " outside /dev")};
  }
  struct stat st {};
  if (::lstat(canonical->c_str(), &st) != 0) return errno_error(shown, errno);
  if (!S_ISBLK(st.st_mode)) return Error{kNotBlock, text::cat(shown, ": is not a block device")};
  DeviceNode found{*std::move(canonical), {}};
  const auto backing = read_file(
      text::cat("/sys/dev/block/", major(st.st_rdev), ":", minor(st.st_rdev), "/loop/backing_file"), 8192);
  if (backing) found.backing_path = backing->substr(0, backing->rfind('\n'));
  return found;
}

}  // namespace vbd::sys
