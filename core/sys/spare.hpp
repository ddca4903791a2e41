// SPDX-License-Identifier: MIT
// Records that can be replaced on a full filesystem too. Beside them lies a spare file whose blocks are there
// already: where no other file can be written, the record is written into the spare, and the two change their
// names, for which no new block and no new name is needed; the former record is the next spare. Nobody reads
// a spare, so that a kill in between leaves the record as it was. The callers see to it that one host at a
// time does this in a directory. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/sys/errors.hpp"

namespace vbd::sys {

inline constexpr std::string_view kSpareFile = ".vbdkit.spare";

/// As read_file_at, whole also when the record is replaced meanwhile.
[[nodiscard]] Result<std::string> read_record_at(int directory, const std::string &name, std::size_t limit);
/// As replace_file_at. Keeps a spare for the next time when there is room for one; takes it when there is
/// none. kNoSpace where both are missing, or where `name` is not there yet: the record is as it was.
[[nodiscard]] Result<void> replace_record_at(int directory, const std::string &name, std::string_view content,
                                             std::uint32_t mode = 0600);
/// Makes sure that a record of `bytes` can be replaced in this directory, whatever comes: before something is
/// done that only another record can end. kNoSpace when not.
[[nodiscard]] Result<void> keep_spare(int directory, std::size_t bytes);

/// The spare for a file that only the lock between hosts needs (name_lock.hpp).
[[nodiscard]] std::string lock_spare_name(const std::string &node);
/// Names of spares of either kind.
[[nodiscard]] bool is_spare(std::string_view name);
[[nodiscard]] Result<void> drop_spares(int directory);

}  // namespace vbd::sys
