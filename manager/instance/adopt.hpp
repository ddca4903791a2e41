// SPDX-License-Identifier: MIT
// An image that is there becomes a disk: where it lies, when it lies right; else as a clone that shares its
// blocks (the original stays), where the filesystem can; else moved. Until the catalog lists it, the
// operation says where it came from, so that a failure or a kill gives it back.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.hpp"
#include "core/sys/files.hpp"
#include "manager/instance/site.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kAdopt{"instance.adopt", Exit::refused};

struct Adoption {
  std::string source;  ///< full path, confined
  sys::FileId id;
  std::uint64_t size = 0;  ///< virtual, bytes
  bool in_place = false;
  std::uint32_t mode = 0, uid = 0, gid = 0;  ///< as it was
};

/// Everything about the image at `id.path` that must be true; the disk will be `target`. Reads only.
[[nodiscard]] Result<Adoption> check_adoptable(const Manager &manager, const LogicalId &id,
                                               const std::string &target);

/// Puts into the operation how to give the image back.
void note_adoption(OperationRecord &operation, const std::string &file, const Adoption &adoption);

/// Sure to be noted, and not in place: makes `file` in the site of the image, which is checked again.
[[nodiscard]] Result<void> adopt_image(const Manager &manager, const Site &site, const DiskRecord &disk,
                                       const Adoption &adoption);

/// What the operation of `record` noted is given back: a moved file moved back where STATE_DIR says the same
/// (witness.hpp), a clone deleted, or kept when its original is gone.
[[nodiscard]] Result<void> undo_adoptions(const Manager &manager, const Site &site,
                                          const InstanceRecord &record);

}  // namespace vbd::instance
