// SPDX-License-Identifier: MIT
// What is done with images through filetype plugins. The caller has opened directories by its own rules (an
// allowed directory for disks, the caller's own name for the image verbs) and holds the operation lock where
// it writes. No format is known here. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/settings.hpp"
#include "core/model/instance_record.hpp"
#include "core/plugin/registry.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"

namespace vbd::image {

inline constexpr ErrorKind kWrongFiletype{"image.wrong_filetype", Exit::refused};
inline constexpr ErrorKind kReference{"image.reference", Exit::refused};
inline constexpr ErrorKind kBadSizeInImage{"image.bad_size", Exit::damaged};
/// kBadSizeInImage when no disk can have so many bytes, whatever the image or its filetype says.
[[nodiscard]] Result<void> check_disk_size(const std::string &path, std::uint64_t bytes);
inline constexpr ErrorKind kTruncated{"image.truncated", Exit::damaged};
inline constexpr ErrorKind kPartialView{"image.partial_view", Exit::busy};

struct CreateSpec {
  Constant filetype;
  plugin::Values options;
  std::uint64_t size = 0;  ///< virtual, bytes
  bool sync = true;
  sys::Ownership ownership;
};
/// A new image at directory/name: temporary file, the filetype's create, fsync, publish. Never replaces.
/// `path` is for messages.
[[nodiscard]] Result<void> create(plugin::Registry &registry, int directory, const std::string &name,
                                  const std::string &path, const CreateSpec &spec);
/// Everything of create that can be checked without writing: plugin, options, size.
[[nodiscard]] Result<void> check_create(plugin::Registry &registry, const CreateSpec &spec,
                                        const std::string &where);

struct ImageInfo {
  std::uint64_t virtual_size = 0;
  std::uint64_t allocated = 0;  ///< bytes on disk
  std::uint64_t file_size = 0;
  std::map<std::string, std::string> properties;  ///< the note's, overridden by this image's
  struct Reference {
    std::string role, name, format;
  };
  std::vector<Reference> references;
  plugin::Facts facts;  ///< all that the filetype said
};
/// The lock of those who only look: consistent read, shared with all. An image that is attached as a loop
/// device is held by the device's own lock, which shares nothing, so that other programs keep off; looking at
/// it harms nobody.
[[nodiscard]] Result<void> lock_to_look(int fd, const std::string &path,
                                        std::chrono::milliseconds patience = sys::kImagePatience);
/// The image behind `fd` (read access; locked by the caller) through its filetype. Doesn't follow references.
[[nodiscard]] Result<ImageInfo> info(plugin::Registry &registry, const Constant &filetype, int fd,
                                     const std::string &path);

/// Refuses an image whose content contradicts the declared filetype (reuse, adopt, import): every installed
/// filetype probes; a raw image that another one claims with 100 is refused, naming it. Then `info` must
/// succeed.
[[nodiscard]] Result<ImageInfo> verify_declared(plugin::Registry &registry, const Constant &filetype, int fd,
                                                const std::string &path);
/// Refuses references as settings say (kReference names role and file).
[[nodiscard]] Result<void> check_references(const ImageInfo &info, const config::Settings &settings,
                                            const std::string &path);

/// The one rule about an image and what its instance's record says of it, for every verb that uses a disk: an
/// image of `size` virtual bytes that are fewer than recorded has lost its end, kTruncated. One that is
/// larger lost nothing. An image that the record does not list is fine.
[[nodiscard]] Result<void> check_recorded(const InstanceRecord &record, const std::string &path,
                                          std::uint64_t size);
/// The disk of the record that lies at `path` of its directory; null: it lists none of that name.
[[nodiscard]] const DiskRecord *listed_disk(const InstanceRecord &record, const std::string &path);

/// Who has the file open for writing, loop devices and processes, in words; "" nobody. Also those who take no
/// lock: what is read meanwhile is of no one moment.
[[nodiscard]] Result<std::string> writers_of(int fd, const std::string &path);
/// Refuses a file that a loop device or another process has open; `assume_unused`: go on when not every
/// process could be looked at (kPartialView).
[[nodiscard]] Result<void> refuse_users(int fd, const std::string &path, bool assume_unused);

/// A virtual size that a disk can have: 512 to 2^63-512 bytes, a multiple of 512. kBadSize.
[[nodiscard]] Result<void> check_image_size(std::uint64_t size, const std::string &where);

enum class Repair { none, leaks, all };
struct CheckResult {
  std::uint64_t leaks = 0, errors = 0;
  std::vector<std::string> findings;  ///< the first 64
  std::string reason, message;        ///< errors: the first one's stable id, and what it is
};
/// Through the filetype's own check. `fd`: locked by the caller, writable for a repair. What is left after a
/// repair is what a second check finds; `findings` are those of the first.
[[nodiscard]] Result<CheckResult> check(plugin::Registry &registry, const Constant &filetype, int fd,
                                        const std::string &path, Repair repair);
/// `bytes` virtual; smaller than before only with `shrink`. `fd`: writable, locked exclusively by the caller.
[[nodiscard]] Result<void> resize(plugin::Registry &registry, const Constant &filetype, int fd,
                                  const std::string &path, std::uint64_t bytes, bool shrink);

/// Locks exclusively, looks for users, lets the filetype remove or unlinks. `assume_unused`: go on when not
/// every process could be looked at.
[[nodiscard]] Result<void> remove(plugin::Registry &registry, const Constant &filetype, int directory,
                                  const std::string &name, const std::string &path, bool assume_unused);

}  // namespace vbd::image
