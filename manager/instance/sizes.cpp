// SPDX-License-Identifier: MIT
#include "manager/instance/sizes.hpp"

#include "core/image/image.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"
#include "manager/instance/site.hpp"

namespace vbd::instance {

Result<std::uint64_t> real_size(const Manager &manager, const LogicalId &id,
                                std::chrono::milliseconds patience) {
  auto file =
      sys::open_image_below(id.path, sys::resolve_allowed(manager.settings.allowed_dirs), sys::Access::read);
  if (!file) return file.error();
  VBD_TRY(image::lock_to_look(file->get(), id.path, patience));
  VBD_TRY_ASSIGN(auto info, image::info(manager.registry, id.filetype, file->get(), id.path));
  return info.virtual_size;
}

Result<std::uint64_t> whole_size(const Manager &manager, const InstanceRecord &record, const DiskRecord &disk,
                                 std::chrono::milliseconds patience) {
  const LogicalId id = logical_id(record, disk);
  auto size = real_size(manager, id, patience);
  if (!size) return size;
  VBD_TRY(image::check_recorded(record, id.path, *size));
  return size;
}

Result<void> check_whole(const Manager &manager, const InstanceRecord &record) {
  for (const DiskRecord &disk : record.disks) {
    auto size = whole_size(manager, record, disk, std::chrono::milliseconds(0));
    if (!size && !size.error().is(sys::kInUse)) return size.error();
  }
  return {};
}

}  // namespace vbd::instance
