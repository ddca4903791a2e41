// SPDX-License-Identifier: MIT
// The identity note of a plugin file, read without loading or running anything. Limits: 64 program headers,
// 64 KiB of notes, exact owner and type. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/model/logical_id.hpp"

namespace vbd::plugin {

inline constexpr ErrorKind kNoNote{"plugin.no_note", Exit::refused};
inline constexpr ErrorKind kBadNote{"plugin.bad_note", Exit::refused};
inline constexpr ErrorKind kNotElf{"plugin.not_elf", Exit::refused};
inline constexpr ErrorKind kTruncated{"plugin.truncated", Exit::refused};
inline constexpr ErrorKind kWrongMachine{"plugin.wrong_machine",
                                         Exit::refused};  ///< class, byte order, processor
inline constexpr ErrorKind kAbiMajor{"plugin.abi_major", Exit::refused};
inline constexpr ErrorKind kTooNew{"plugin.needs_newer_host", Exit::refused};
inline constexpr ErrorKind kWrongConstant{"plugin.wrong_constant", Exit::refused};

struct Note {
  unsigned abi_major = 0, abi_minor = 0, min_host_minor = 0;
  PluginKind kind = PluginKind::driver;
  std::string constant, name, version, summary;
  std::set<std::string> ops;                              ///< "attach", "image.read"
  std::map<std::string, std::string> properties;          ///< prop.*: "flat" -> "1"
  std::map<std::string, std::vector<std::string>> needs;  ///< need.*: "flat" -> {"1"}; {"*"} any value
  std::vector<std::string> requires_;
};

/// Of the ELF file behind `fd`. `path` is for messages.
/// A note of another ABI major is returned with that number alone: what else it says may mean anything.
[[nodiscard]] Result<Note> read_note(int fd, const std::string &path);
/// The payload of a note: NUL-separated "key=value".
[[nodiscard]] Result<Note> parse_note(std::string_view payload, const std::string &path);
/// Refuses what this host can't load, from the note alone: major, min_host_minor, constant against file name.
[[nodiscard]] Result<void> check_note(const Note &note, const std::string &path);

/// Empty when `filetype` (with `properties` for the image at hand, or the note's) satisfies the driver's
/// needs; else the first need in words: "needs flat=1, FT_QCOW has none".
[[nodiscard]] std::string unmet_need(const Note &driver, const Note &filetype,
                                     const std::map<std::string, std::string> &properties);

}  // namespace vbd::plugin
