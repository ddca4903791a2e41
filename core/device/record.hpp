// SPDX-License-Identifier: MIT
// What is attached now: one JSON file for each image in RUN_DIR/attachments, named by the image's device and
// inode, replaced whole before each step, and a private directory in RUN_DIR/state for the driver. A record
// of another boot counts as none. Written under the operation lock of the image's directory; reading takes no
// lock. Nobody but root and the effective user may be able to write there (sys/trusted.hpp): nothing is read
// from, or written to, a RUN_DIR of others. Format: docs/attachment-json.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"

namespace vbd::device {

inline constexpr ErrorKind kBadRecord{"disk.bad_record", Exit::failed};

struct Record {
  /// attaching: the driver may have begun; detaching: the last holder left and the driver may have begun.
  enum class Phase { attaching, attached, detaching };

  std::string image;  ///< the path by which it was attached, confined
  sys::FileId file;
  std::string driver, filetype;  ///< constants
  bool read_only = false;
  Phase phase = Phase::attaching;
  std::string node;  ///< "" until the driver made it
  std::vector<std::string> holders;
  std::uint32_t block_size = 512;
  std::map<std::string, std::string> options;  ///< without secret ones
  std::map<std::string, std::string>
      properties;                            ///< of this image, so that its header need not be read again
  std::map<std::string, std::string> state;  ///< the driver's own
  bool leased = false;                       ///< the lease was taken for this attachment, and goes with it
  std::string boot_id;
  std::uint64_t birth = 0;  ///< of the image (sys::FileInfo); 0: not known
  bool lent = false;        ///< no device: the holder's guest has opened the image itself

  /// False for a new file that got the inode number of the one that was attached: that one is gone, for an
  /// inode that is in use is given to nobody.
  [[nodiscard]] bool is_of(const sys::FileInfo &info) const {
    return file == info.id && (birth == 0 || info.birth == 0 || birth == info.birth);
  }
  [[nodiscard]] bool held_by(const std::string &holder) const;
  void drop_holder(const std::string &holder);
};

class Records {
 public:
  explicit Records(std::string run_dir) : run_dir_(std::move(run_dir)) {}

  [[nodiscard]] Result<std::optional<Record>> find(const sys::FileId &file) const;
  /// By the path that was attached: for images that were renamed, replaced or deleted since.
  [[nodiscard]] Result<std::optional<Record>> find(const std::string &image) const;
  /// Of this boot and, with `stale`, of earlier ones.
  [[nodiscard]] Result<std::vector<Record>> all(bool stale = false) const;
  /// Fills in boot_id; durable when it returns.
  [[nodiscard]] Result<void> write(Record &record) const;
  /// Removes the driver's directory, then the record.
  [[nodiscard]] Result<void> drop(const Record &record) const;

  /// RUN_DIR/state/KEY; made by make_state_directory.
  [[nodiscard]] std::string state_directory(const sys::FileId &file) const;
  [[nodiscard]] Result<void> make_state_directory(const sys::FileId &file) const;
  /// Removes files of killed runs and directories without a record; what it removed.
  [[nodiscard]] Result<std::vector<std::string>> sweep(bool repair) const;
  /// RUN_DIR/locks, made when missing: for images on filesystems that can't carry a lock file.
  [[nodiscard]] Result<sys::Fd> locks_directory(std::string &path) const;
  /// The operation lock of a directory; on a filesystem that can't carry its file, one under RUN_DIR.
  [[nodiscard]] Result<sys::OperationLock> lock(int directory, const std::string &path,
                                                std::chrono::milliseconds patience) const;

 private:
  [[nodiscard]] Result<std::optional<Record>> read(int directory, const std::string &name, bool stale) const;
  [[nodiscard]] std::string records_directory() const { return run_dir_ + "/attachments"; }

  std::string run_dir_;
};

}  // namespace vbd::device
