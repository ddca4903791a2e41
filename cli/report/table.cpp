// SPDX-License-Identifier: MIT
#include <algorithm>

#include "cli/report/report.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

using Row = std::vector<std::string>;

/// Columns on a terminal: bytes that begin a code point.
std::size_t width_of(const std::string &text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string line_of(const Row &row, const std::vector<std::size_t> &widths, const std::string &separator) {
  if (!separator.empty()) return text::join(row, separator) + "\n";
  std::string out;
  for (std::size_t i = 0; i < row.size(); ++i) {
    out += row[i];
    if (i + 1 < row.size()) out.append(widths[i] - width_of(row[i]) + 2, ' ');
  }
  return out + "\n";
}

json::Value plan_json(const instance::Plan &steps, bool dry_run) {
  json::Value value;
  value.set("schema", "vbdkit.plan/1").set("dry_run", dry_run).set("steps", to_json(steps));
  return value;
}

json::Value words_json(const std::vector<hypervisor::BroughtWord> &words) {
  json::Array list;
  for (const auto &word : words) {
    json::Value value;
    value.set("option", word.option).set("name", word.name).set("value", word.value);
    if (!word.reason.empty()) value.set("reason", word.reason);
    list.push_back(std::move(value));
  }
  return list;
}

}  // namespace

std::string table_text(Table table) {
  std::vector<std::size_t> widths;
  const auto measure = [&](const Row &row) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  };
  measure(table.headers);
  for (Row &row : table.rows) {
    for (std::string &cell : row)
      cell = cell.empty() && table.separator.empty() ? "-" : text::printable(cell);
    measure(row);
  }
  std::string out;
  if (!table.headers.empty()) {
    out = line_of(table.headers, widths, table.separator);
    if (table.bold) out = "\x1b[1m" + out.substr(0, out.size() - 1) + "\x1b[0m\n";
  }
  for (const Row &row : table.rows) out += line_of(row, widths, table.separator);
  return out;
}

std::string pairs_text(const std::vector<std::pair<std::string, std::string>> &pairs) {
  std::size_t width = 0;
  for (const auto &[key, value] : pairs) width = value.empty() ? width : std::max(width, key.size());
  std::string out;
  for (const auto &[key, value] : pairs) {
    if (!value.empty())
      out += text::cat(key, ":", std::string(width - key.size() + 1, ' '), text::printable(value), "\n");
  }
  return out;
}

Outcome plan(bool json, const instance::Plan &steps, bool dry_run, const std::string &done) {
  if (json) return {{}, plan_json(steps, dry_run)};
  if (!dry_run) return {done.empty() ? "" : text::printable(done) + "\n", {}};
  std::string out;
  for (const std::string &step : steps) out += text::printable(step) + "\n";
  return {std::move(out), {}};
}

Outcome from_outside(bool json, const instance::FromOutside &done, bool dry_run, const std::string &said) {
  Outcome outcome = plan(json, done.plan, dry_run, said);
  if (json) {
    json::Value parameters;
    parameters.set("taken", words_json(done.brought.taken))
        .set("left_out", words_json(done.brought.left_out));
    outcome.json.set("parameters", std::move(parameters));
    return outcome;
  }
  for (const std::string &line : hypervisor::describe(done.brought))
    outcome.text += text::printable(line) + "\n";
  return outcome;
}

json::Value to_json(const LogicalId &id) {
  return json::Array{json::Value{id.driver.str()}, json::Value{id.filetype.str()}, json::Value{id.path}};
}

json::Value to_json(const std::vector<std::string> &list) {
  json::Array array;
  for (const std::string &item : list) array.emplace_back(item);
  return array;
}

json::Value to_json(const std::map<std::string, std::string> &map) {
  json::Object object;
  for (const auto &[key, value] : map) object.emplace_back(key, json::Value{value});
  return object;
}

json::Value to_json(const plugin::Facts &facts) {
  json::Object object;
  for (const auto &[key, value] : facts.all()) {
    object.emplace_back(key, std::visit([](const auto &plain) { return json::Value{plain}; }, value));
  }
  return object;
}

std::string fact_text(const plugin::Facts::Value &value) {
  if (const auto *flag = std::get_if<bool>(&value)) return *flag ? "yes" : "no";
  if (const auto *number = std::get_if<std::uint64_t>(&value)) return std::to_string(*number);
  return std::get<std::string>(value);
}

}  // namespace vbd::cli::report
