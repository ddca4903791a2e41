// SPDX-License-Identifier: MIT
// What an export says about itself: config.ini in Ganeti's format (EXPORT_VERSION 0), and a section [vbdkit]
// of ours that Ganeti does not look at. docs/backup.md is the format's description. Pure data and functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/model/instance_record.hpp"
#include "manager/backup/ini.hpp"

namespace vbd::backup {

inline constexpr const char *kDescriptionFile = "config.ini";
inline constexpr std::size_t kDescriptionLimit = 1u << 20;

using TextMap = std::map<std::string, std::string>;

/// Debian's guest OS definition (package ganeti-os-noop) whose dumps are the disks' bytes.
inline constexpr std::string_view kRawOs = "noop";

/// What is in a dump.
enum class Content {
  script,  ///< what the guest OS definition's export wrote; its import reads it
  raw,     ///< the bytes that the guest sees
  image    ///< an image file of `image_filetype`, as it is
};
[[nodiscard]] const char *content_text(Content content);

/// What only our exports say about a disk.
struct OwnDisk {
  Constant driver, filetype;
  std::string file, vdev;  ///< "sda"
  DiskMode mode = DiskMode::rw;
  std::uint64_t size = 0;  ///< virtual, bytes
  TextMap driver_options, filetype_options;
  Content content = Content::raw;
  std::uint64_t length = 0;  ///< bytes of the dump before compression
  std::string digest;        ///< 64 hex digits: of the dump before compression, as docs/digest.md has it
  Constant image_filetype;   ///< Content::image: of the file; the disk's may be another
};

struct ExportedDisk {
  std::string dump;       ///< name of a file beside config.ini; "" there is none
  std::uint64_t mib = 0;  ///< size, rounded up
  std::string name;       ///< "" none
  std::optional<OwnDisk> own;
};

enum class Compression { none, zstd };

struct Description {
  std::uint64_t timestamp = 0;  ///< seconds since 1970
  std::string source;           ///< Ganeti: UUID of the node; ours: its name
  std::string name, os, hypervisor;
  std::uint64_t memory = 0, vcpus = 0;     ///< MiB; 0: not said
  TextMap backend, hypervisor_parameters;  ///< as Ganeti names them, or with `ours` as our profiles do
  TextMap os_parameters;                   ///< private ones among them
  std::vector<NicRecord> nics;
  std::vector<ExportedDisk> disks;
  bool ours = false;
  Compression compression = Compression::none;
};

/// kDamaged names the section and the key. Every name of a file is one below the directory, every number in
/// its range.
[[nodiscard]] Result<Description> parse_description(std::string_view text, const std::string &file);
/// Of an export of ours: every disk has `own`.
[[nodiscard]] Result<std::string> write_description(const Description &description);

/// "a=1,b=2" with a backslash before a comma, an equals sign or a backslash within.
[[nodiscard]] std::string join_pairs(const TextMap &map);
[[nodiscard]] std::optional<TextMap> split_pairs(std::string_view text);

}  // namespace vbd::backup
