// SPDX-License-Identifier: MIT
// The list of instances, and what it and the view of one have in common. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/outcome.hpp"
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

struct ListLook {
  std::vector<std::string> fields;
  bool no_headers = false;
  std::string separator;
  bool color = false;
  Unit unit = Unit::human;
};
/// vbdkit.instances/1: all fields, whatever was wanted. `usage` is by entry.
[[nodiscard]] Outcome instances(bool json, const std::vector<instance::Entry> &entries,
                                const std::vector<instance::Usage> &usage, const ListLook &look);

/// Members that vbdkit.instances/1 and vbdkit.instance/1 share: before the disks, and after them.
void add_head(json::Value &value, const instance::Entry &entry);
void add_sums(json::Value &value, const instance::Entry &entry, const instance::Usage &usage);
void add_tail(json::Value &value, const instance::Entry &entry);
[[nodiscard]] json::Value text_or_null(const std::string &text);

}  // namespace vbd::cli::report
