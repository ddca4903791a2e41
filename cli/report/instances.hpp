// SPDX-License-Identifier: MIT
// The list of instances, and what it and the view of one have in common. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/outcome.hpp"
#include "cli/report/report.hpp"
#include "core/base/result.hpp"
#include "manager/instance/catalog.hpp"
#include "manager/instance/usage.hpp"

namespace vbd::cli::report {

/// "name,state", "+uuid", or nothing for the usual ones: the names of fields, checked.
[[nodiscard]] Result<std::vector<std::string>> instance_fields(const std::optional<std::string> &given);
/// Does one of them say what is allocated, so that the files must be looked at?
[[nodiscard]] bool needs_usage(const std::vector<std::string> &fields);

/// human: "5.0 GiB". The others are numbers alone: bytes; MiB rounded up; GiB and TiB with one decimal,
/// rounded up.
enum class Unit { human, bytes, mebi, gibi, tebi };

/// An element of vbdkit.instances/1 as JSON, indented for its place; all fields, whatever was wanted.
[[nodiscard]] std::string list_json(const instance::Entry &entry, const instance::Usage &usage);
/// The list as a table: its headers, and the row of one entry.
[[nodiscard]] Table list_table(const std::vector<std::string> &fields, bool no_headers);
[[nodiscard]] std::vector<std::string> list_row(const std::vector<std::string> &fields,
                                                const instance::Entry &entry, const instance::Usage &usage,
                                                Unit unit);

/// Members that vbdkit.instances/1 and vbdkit.instance/1 share: before the disks, and after them.
void add_head(json::Value &value, const instance::Entry &entry);
void add_sums(json::Value &value, const instance::Entry &entry, const instance::Usage &usage);
void add_tail(json::Value &value, const instance::Entry &entry);
[[nodiscard]] json::Value text_or_null(const std::string &text);

}  // namespace vbd::cli::report
