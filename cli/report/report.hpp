// SPDX-License-Identifier: MIT
// Results as text for people and as JSON for programs (docs/json.md). Pure functions; strings from outside
// are made printable in text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/outcome.hpp"
#include "core/device/device.hpp"
#include "core/image/compare.hpp"
#include "core/image/image.hpp"
#include "core/image/open.hpp"
#include "core/json/json.hpp"
#include "core/plugin/check.hpp"
#include "core/plugin/registry.hpp"
#include "manager/instance/catalog.hpp"
#include "manager/instance/lifecycle.hpp"

namespace vbd::cli::report {

[[nodiscard]] std::string version_text();

/// "vbd: error[ID]: message" and, where there is one, a line "hint: ...".
[[nodiscard]] std::string error_text(const Error &error, bool color);
/// vbdkit.error/1
[[nodiscard]] std::string error_json(const Error &error);
/// The member `error` of it.
[[nodiscard]] json::Value error_value(const Error &error);

struct Table {
  std::vector<std::string> headers;  ///< empty: none is printed
  std::vector<std::vector<std::string>> rows;
  std::string separator;  ///< empty: columns aligned by blanks
  bool bold = false;      ///< headers in bold
};
[[nodiscard]] std::string table_text(Table table);
/// "key:   value" lines, values aligned; empty values left out.
[[nodiscard]] std::string pairs_text(const std::vector<std::pair<std::string, std::string>> &pairs);

/// vbdkit.plan/1, or one line a step.
[[nodiscard]] Outcome plan(bool json, const instance::Plan &steps, bool dry_run, const std::string &done);

/// The same with what was taken of parameters from outside, and what was not.
[[nodiscard]] Outcome from_outside(bool json, const instance::FromOutside &done, bool dry_run,
                                   const std::string &said);

/// What became of one of several instances.
struct Each {
  std::string name;
  Result<instance::Plan> done;
};
/// vbdkit.each/1; in text a line for each that `done` ("running") is said of, and in a dry run the steps. The
/// exit code is the highest of the errors'; errors are not in the text.
[[nodiscard]] Outcome each(bool json, const std::vector<Each> &list, bool dry_run, std::string_view done);

[[nodiscard]] json::Value to_json(const LogicalId &id);
[[nodiscard]] json::Value to_json(const plugin::Facts &facts);
[[nodiscard]] json::Value to_json(const std::vector<std::string> &list);
[[nodiscard]] json::Value to_json(const std::map<std::string, std::string> &map);
[[nodiscard]] std::string fact_text(const plugin::Facts::Value &value);

/// What is looked up about a disk beyond its record.
struct DiskView {
  LogicalId id;
  std::optional<std::uint64_t> allocated;
  std::optional<std::string> device;
  std::string problem;  ///< why one of them is not known
};
/// vbdkit.instance/1; `disks` one for each of the record's.
[[nodiscard]] Outcome instance(bool json, const instance::Entry &entry, const std::vector<DiskView> &disks);

/// vbdkit.device/1 and vbdkit.disk/1
[[nodiscard]] Outcome attachment(bool json, const LogicalId &id, const device::Attachment &attachment);
[[nodiscard]] Outcome status(bool json, const LogicalId &id, const device::Status &status);

/// vbdkit.image/1
[[nodiscard]] Outcome image(bool json, const Constant &filetype, const std::string &path,
                            const image::ImageInfo &info);

/// An element of vbdkit.map/1, on one line.
[[nodiscard]] std::string piece_json(const image::Piece &piece);
[[nodiscard]] Outcome map(const std::vector<image::Piece> &pieces);
/// vbdkit.check/1; exit code 1 with leaks only, 6 with errors.
[[nodiscard]] Outcome check(bool json, const Constant &filetype, const std::string &path,
                            const image::CheckResult &result);

/// vbdkit.compare/1; exit code 1 when they differ.
[[nodiscard]] Outcome comparison(bool json, const image::OpenImage &a, const image::OpenImage &b,
                                 const image::Differences &differences);

/// vbdkit.plugins/1, vbdkit.plugin/1, vbdkit.matrix/1
[[nodiscard]] Outcome plugins(bool json, const std::vector<plugin::Listed> &list, bool color);
[[nodiscard]] Outcome plugin(bool json, const plugin::Found &found,
                             const std::vector<plugin::OptionInfo> &options);
/// vbdkit.plugin-check/1
[[nodiscard]] Outcome plugin_check(bool json, const plugin::Checked &checked);
[[nodiscard]] Outcome matrix(bool json, const std::vector<plugin::Listed> &list, bool color);

}  // namespace vbd::cli::report
