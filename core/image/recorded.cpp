// SPDX-License-Identifier: MIT
#include "core/base/text.hpp"
#include "core/image/image.hpp"

namespace vbd::image {

const DiskRecord *listed_disk(const InstanceRecord &record, const std::string &path) {
  const std::string name = sys::base_name(path);
  for (const DiskRecord &disk : record.disks) {
    if (disk.file == name) return &disk;
  }
  return nullptr;
}

Result<void> check_recorded(const InstanceRecord &record, const std::string &path, std::uint64_t size) {
  const DiskRecord *disk = listed_disk(record, path);
  if (disk == nullptr || size >= disk->size) return {};
  const auto index = static_cast<std::size_t>(disk - record.disks.data());
  return Error(kTruncated,
               text::cat(text::printable(path), ": has ", size, " bytes, and ", disk->size,
                         " as a disk of the instance ", text::printable(record.name), ": its end is missing"),
               text::cat("put the whole image back in its place; where the rest may be lost, 'vbd instance "
                         "modify --disk ",
                         index, ":size=actual ", text::printable(record.name), "' takes it as it is"));
}

}  // namespace vbd::image
