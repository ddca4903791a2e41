// SPDX-License-Identifier: MIT
// What the verbs of `vbd image` share: their arguments, the place of an image, the locks around it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/grammar.hpp"
#include "cli/outcome.hpp"
#include "cli/session.hpp"
#include "core/image/open.hpp"
#include "core/sys/fd.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/name_lock.hpp"

namespace vbd::cli {

[[nodiscard]] Result<Constant> filetype_of(const Session &session);

/// The directory of an argument's path, the name in it, and the path for messages.
struct Place {
  sys::Fd directory;
  std::string name, path;
};
[[nodiscard]] Result<Place> place_of(const Session &session, std::string_view argument = "PATH");

/// Where vbd works with the directory as an instance's, its lock is held; elsewhere nothing is left behind.
[[nodiscard]] Result<std::optional<sys::OperationLock>> lock_if_ours(const Place &place);

/// An instance's images change with their instance. A record that can't be read may list it. `verb` and
/// `instead` are for the message.
[[nodiscard]] Result<void> refuse_listed(const Place &place, std::string_view verb, std::string_view instead);

/// An image for one who writes: as long as this is there, nobody else uses it, also on other nodes.
struct Alone {
  sys::Fd fd;
  std::optional<sys::NameLock> nodes;  ///< none in a directory that its user can't write to
  [[nodiscard]] int get() const { return fd.get(); }
};
[[nodiscard]] Result<Alone> open_alone(const Session &session, const Place &place);
/// Other nodes are kept from beginning to write it, and none has begun.
[[nodiscard]] Result<std::optional<sys::NameLock>> keep_nodes_off(const Session &session, const Place &place);
/// No other node writes it: half of what it writes would be seen.
[[nodiscard]] Result<void> refuse_other_writer(const Session &session, const std::string &path);

/// A file open and locked for reading, that nobody may change meanwhile. With --allow-in-use somebody may:
/// then `in_use` says who, and the output has to.
[[nodiscard]] Result<sys::Fd> open_file_still(const Session &session, const std::string &path,
                                              std::string &in_use);
/// The same as an image.
[[nodiscard]] Result<std::unique_ptr<image::OpenImage>> open_still(Session &session, const Constant &filetype,
                                                                   const std::string &path,
                                                                   std::string &in_use);
/// "in_use" in JSON, null for what was not; for people a line, when it was.
[[nodiscard]] Outcome marked(bool json, Outcome outcome, const std::string &in_use);
[[nodiscard]] json::Value in_use_json(const std::string &in_use);

inline constexpr OptionSpec kFiletypeOption = {
    "--filetype", Takes::value, "FT", "filetype of the image: raw, qcow, ...", "", true, Meaning::filetype};
inline constexpr OptionSpec kAssumeUnused = {"--assume-unused", Takes::nothing, "",
                                             "go on when not all processes can be looked at (without root)"};
inline constexpr OptionSpec kAllowInUse = {
    "--allow-in-use", Takes::nothing, "",
    "go on though something writes to the image: what is read is of no one moment, and the output says so"};
inline constexpr ArgumentSpec kImagePath[] = {{"PATH", "an image", true, Meaning::file}};

[[nodiscard]] VerbSpec image_check_verb();
[[nodiscard]] VerbSpec image_resize_verb();
[[nodiscard]] VerbSpec image_map_verb();
[[nodiscard]] VerbSpec image_compare_verb();
[[nodiscard]] VerbSpec image_digest_verb();
[[nodiscard]] VerbSpec image_copy_verb();

}  // namespace vbd::cli
