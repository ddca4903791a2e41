// SPDX-License-Identifier: MIT
// Small steps for those who must look at each component of a path, or read a foreign file by offsets.
// Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"
#include "core/sys/fd.hpp"

namespace vbd::sys {

/// "/" as a place to start from; only good for the calls below and file_info.
[[nodiscard]] Result<Fd> open_root();
/// One name below `directory`, not followed when it is a link and not opened for reading or writing.
/// `shown` names it in the error.
[[nodiscard]] Result<Fd> open_component(int directory, const std::string &name, const std::string &shown);
/// The same for reading; a link is an error.
[[nodiscard]] Result<Fd> open_for_reading(int directory, const std::string &name, const std::string &shown);

/// A directory by its path, links in it followed; kNotFound when it is missing.
[[nodiscard]] Result<Fd> open_directory(const std::string &path);
/// A directory below another, no link.
[[nodiscard]] Result<Fd> open_directory_at(int directory, const std::string &name, const std::string &shown);
/// Something is there, links followed.
[[nodiscard]] bool path_exists(const std::string &path);

/// The absolute path without links and dots; kNotFound when nothing is there.
[[nodiscard]] Result<std::string> canonical_path(const std::string &path);
/// /dev/null, to read and write.
[[nodiscard]] Result<Fd> open_null();

/// Bytes read at `offset`: less than `length` only at the end of the file.
[[nodiscard]] Result<std::size_t> read_at(int fd, void *to, std::size_t length, std::uint64_t offset);

[[nodiscard]] std::uint32_t effective_uid();
/// Numbers of a user or group by name; nothing when there is no such.
[[nodiscard]] std::optional<std::uint32_t> user_by_name(const std::string &name);
[[nodiscard]] std::optional<std::uint32_t> group_by_name(const std::string &name);

}  // namespace vbd::sys
