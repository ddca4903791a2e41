// SPDX-License-Identifier: MIT
// What STATE_DIR says of images that a verb is taking from elsewhere. The note of it in instance.yaml lies
// beside the data, where others may write; what an undo does outside the instance's directory, and to whom a
// file is given, needs this second word. Written before the first image is moved, gone after the operation.
// Not thread-safe; the caller holds the operation lock of the instance's directory, or is the only one who
// knows the UUID.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/sys/files.hpp"

namespace vbd::instance {

/// An image that is moved to be a disk, as it was.
struct Witness {
  std::string file;    ///< its name as a disk
  std::string source;  ///< full path
  sys::FileId id;
  std::uint32_t mode = 0, uid = 0, gid = 0;
};

[[nodiscard]] Result<void> write_witness(const config::Settings &settings, const std::string &uuid,
                                         const std::string &directory, const std::vector<Witness> &images);
/// What is said of the disk `file` of the instance in `directory`; nothing when nothing is.
[[nodiscard]] Result<std::optional<Witness>> find_witness(const config::Settings &settings,
                                                          const std::string &uuid,
                                                          const std::string &directory,
                                                          const std::string &file);
/// Missing is fine.
[[nodiscard]] Result<void> drop_witness(const config::Settings &settings, const std::string &uuid);

}  // namespace vbd::instance
