// SPDX-License-Identifier: MIT
#include <algorithm>
#include <optional>

#include "cli/parser.hpp"
#include "cli/report/instances.hpp"
#include "cli/report/report.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

using FieldNames = std::vector<std::string>;

struct ListRow {
  const instance::Entry &entry;
  const instance::Usage &usage;
  Unit unit;
};

std::string size_in(std::uint64_t bytes, Unit unit) {
  if (unit == Unit::human) return format_size(bytes);
  if (unit == Unit::bytes) return std::to_string(bytes);
  const unsigned shift = unit == Unit::mebi ? 20 : unit == Unit::gibi ? 30 : 40;
  const std::uint64_t one = std::uint64_t{1} << shift, rest = bytes % one;
  if (unit == Unit::mebi) return std::to_string(bytes / one + (rest != 0 ? 1 : 0));
  const std::uint64_t tenths = bytes / one * 10 + (rest * 10 + one - 1) / one;
  return text::cat(tenths / 10, ".", tenths % 10);
}

/// Is there a record, so that its disks are known?
bool is_known(const instance::Entry &entry) {
  return !entry.unreadable && entry.state != instance::State::unreachable;
}

std::optional<std::uint64_t> size_of(const instance::Entry &entry) {
  if (!is_known(entry)) return {};
  std::uint64_t size = 0;
  for (const DiskRecord &disk : entry.record.disks) size += disk.size;
  return size;
}

std::optional<std::uint64_t> sum_of(const instance::Entry &entry, const instance::Usage &usage) {
  if (!is_known(entry)) return {};
  std::uint64_t sum = 0;
  for (const auto &bytes : usage) {
    if (!bytes) return {};
    sum += *bytes;
  }
  return sum;
}

std::string value_in(const std::map<std::string, std::string> &map, const std::string &key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

std::string macs_of(const InstanceRecord &record) {
  FieldNames macs;
  for (const NicRecord &nic : record.nics) macs.push_back(nic.mac);
  return text::join(macs, ",");
}

std::string sizes_of(const ListRow &row) {
  FieldNames sizes;
  for (const DiskRecord &disk : row.entry.record.disks) sizes.push_back(size_in(disk.size, row.unit));
  return text::join(sizes, ",");
}

std::string size_or_none(const std::optional<std::uint64_t> &bytes, Unit unit) {
  return bytes ? size_in(*bytes, unit) : std::string();
}

std::string count_of(const ListRow &row, std::size_t count) {
  return is_known(row.entry) ? std::to_string(count) : std::string();
}

struct Field {
  std::string_view name;
  std::string (*value)(const ListRow &);
};
constexpr Field kFields[] = {
    {"name", [](const ListRow &r) { return r.entry.record.name; }},
    {"state", [](const ListRow &r) { return std::string(instance::state_text(r.entry.state)); }},
    {"node", [](const ListRow &r) { return r.entry.record.node; }},
    {"disks", [](const ListRow &r) { return count_of(r, r.entry.record.disks.size()); }},
    {"size", [](const ListRow &r) { return size_or_none(size_of(r.entry), r.unit); }},
    {"directory", [](const ListRow &r) { return r.entry.record.directory; }},
    {"allocated", [](const ListRow &r) { return size_or_none(sum_of(r.entry, r.usage), r.unit); }},
    {"secondary", [](const ListRow &r) { return r.entry.record.secondary; }},
    {"os", [](const ListRow &r) { return r.entry.record.os; }},
    {"uuid", [](const ListRow &r) { return r.entry.record.uuid; }},
    {"created", [](const ListRow &r) { return r.entry.record.created; }},
    {"reason", [](const ListRow &r) { return r.entry.reason; }},
    {"status", [](const ListRow &r) { return std::string(instance::state_text(r.entry.state)); }},
    {"pnode", [](const ListRow &r) { return r.entry.record.node; }},
    {"snodes", [](const ListRow &r) { return r.entry.record.secondary; }},
    {"memory", [](const ListRow &r) { return value_in(r.entry.record.backend, "memory"); }},
    {"vcpus", [](const ListRow &r) { return value_in(r.entry.record.backend, "vcpus"); }},
    {"disk.count", [](const ListRow &r) { return count_of(r, r.entry.record.disks.size()); }},
    {"disk.sizes", sizes_of},
    {"nic.count", [](const ListRow &r) { return count_of(r, r.entry.record.nics.size()); }},
    {"nic.macs", [](const ListRow &r) { return macs_of(r.entry.record); }},
};
constexpr std::size_t kUsual = 6;  // the first ones
constexpr std::string_view kAllocatedOfDisk = "disk.allocated";

const Field *find_field(std::string_view name) {
  const auto *found =
      std::find_if(std::begin(kFields), std::end(kFields), [&](const Field &f) { return f.name == name; });
  return found == std::end(kFields) ? nullptr : found;
}

/// One property of disk N, empty where there is no such disk; nothing: no such property.
std::optional<std::string> disk_value(std::string_view what, const ListRow &row, std::size_t index) {
  const auto &record = row.entry.record;
  const bool known = what == "disk.size" || what == kAllocatedOfDisk || what == "disk.path" ||
                     what == "disk.driver" || what == "disk.filetype" || what == "disk.vdev";
  if (!known) return {};
  if (index >= record.disks.size()) return std::string();
  const DiskRecord &disk = record.disks[index];
  if (what == "disk.size") return size_in(disk.size, row.unit);
  if (what == "disk.path") return text::cat(record.directory, "/", disk.file);
  if (what == "disk.driver") return disk.driver.str();
  if (what == "disk.filetype") return disk.filetype.str();
  if (what == "disk.vdev") return disk.vdev;
  return size_or_none(row.usage[index], row.unit);
}

std::optional<std::string> nic_value(std::string_view what, const ListRow &row, std::size_t index) {
  const auto &fields = nic_fields();
  const std::string field(what.substr(what.find('.') + 1));
  if (std::find(fields.begin(), fields.end(), field) == fields.end()) return {};
  const auto &nics = row.entry.record.nics;
  return index < nics.size() ? *nic_field(nics[index], field) : std::string();
}

/// Fields with something behind the slash: "disk.size/0", "nic.mac/0", "be/memory", "hv/kernel",
/// "os/release". Nothing: no such field.
std::optional<std::string> keyed_value(std::string_view name, const ListRow &row) {
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos || slash + 1 == name.size()) return {};
  const std::string_view what = name.substr(0, slash);
  const std::string key(name.substr(slash + 1));
  if (what == "be") return value_in(row.entry.record.backend, key);
  if (what == "hv") return value_in(row.entry.record.hypervisor, key);
  if (what == "os") return value_in(row.entry.record.os_parameters, key);
  if (key.size() > 3 || key.find_first_not_of("0123456789") != std::string::npos) return {};
  const auto index = static_cast<std::size_t>(std::stoul(key));
  return what.starts_with("nic.") ? nic_value(what, row, index) : disk_value(what, row, index);
}

std::string field_value(const std::string &name, const ListRow &row) {
  const Field *plain = find_field(name);
  return plain != nullptr ? plain->value(row) : keyed_value(name, row).value_or("");
}

json::Value number_or_null(const std::optional<std::uint64_t> &number) {
  return number ? json::Value{*number} : json::Value{};
}

json::Value disks_json(const InstanceRecord &record, const instance::Usage &usage) {
  json::Array list;
  for (std::size_t i = 0; i < record.disks.size(); ++i) {
    const DiskRecord &disk = record.disks[i];
    json::Value value;
    value.set("index", std::uint64_t{i});
    value.set("logical_id",
              to_json(LogicalId{disk.driver, disk.filetype, text::cat(record.directory, "/", disk.file)}));
    value.set("size", disk.size).set("allocated", number_or_null(usage[i]));
    value.set("vdev", disk.vdev).set("mode", disk.mode == DiskMode::rw ? "rw" : "ro");
    list.push_back(std::move(value));
  }
  return list;
}

}  // namespace

json::Value text_or_null(const std::string &text) {
  return text.empty() ? json::Value{} : json::Value{text};
}

void add_head(json::Value &value, const instance::Entry &entry) {
  const InstanceRecord &record = entry.record;
  value.set("name", record.name).set("state", instance::state_text(entry.state));
  value.set("node", text_or_null(record.node)).set("secondary", text_or_null(record.secondary));
  value.set("directory", record.directory);
}

void add_sums(json::Value &value, const instance::Entry &entry, const instance::Usage &usage) {
  value.set("size", number_or_null(size_of(entry))).set("allocated", number_or_null(sum_of(entry, usage)));
}

void add_tail(json::Value &value, const instance::Entry &entry) {
  const InstanceRecord &record = entry.record;
  value.set("os", text_or_null(record.os)).set("uuid", record.uuid);
  value.set("created", text_or_null(record.created)).set("reason", text_or_null(entry.reason));
}

Result<FieldNames> instance_fields(const std::optional<std::string> &given) {
  FieldNames fields, known;
  for (const Field &field : kFields) known.emplace_back(field.name);
  const bool add = given && given->starts_with('+');
  if (add || !given) fields.assign(known.begin(), known.begin() + kUsual);
  if (!given) return fields;
  const instance::Entry nothing;
  for (const std::string &name : text::split(given->substr(add ? 1 : 0), ',')) {
    if (find_field(name) == nullptr && !keyed_value(name, {nothing, {}, Unit::human})) {
      const std::string near = text::did_you_mean(name, known);
      return Error{
          kBadValue,
          text::cat("-o ", shown(name), ": no such field",
                    near.empty() ? "" : "; did you mean '" + near + "'?"),
          text::cat("fields: ", text::join(known, ", "),
                    ", disk.size/N, disk.allocated/N, disk.path/N, disk.driver/N, disk.filetype/N, "
                    "disk.vdev/N, nic.mac/N, nic.ip/N, nic.link/N, nic.mode/N, be/KEY, hv/KEY, os/KEY")};
    }
    fields.push_back(name);
  }
  return fields;
}

bool needs_usage(const FieldNames &fields) {
  return std::any_of(fields.begin(), fields.end(), [](const std::string &field) {
    return field == "allocated" || field.starts_with(kAllocatedOfDisk);
  });
}

std::string list_json(const instance::Entry &entry, const instance::Usage &usage) {
  json::Value value;
  add_head(value, entry);
  value.set("disks", disks_json(entry.record, usage));
  add_sums(value, entry, usage);
  add_tail(value, entry);
  return json::dump(value, 0);
}

Table list_table(const FieldNames &fields, bool no_headers) {
  Table table;
  for (const std::string &field : fields) {
    if (!no_headers) table.headers.push_back(text::upper(field));
  }
  return table;
}

FieldNames list_row(const FieldNames &fields, const instance::Entry &entry, const instance::Usage &usage,
                    Unit unit) {
  FieldNames cells;
  for (const std::string &field : fields) cells.push_back(field_value(field, {entry, usage, unit}));
  return cells;
}

}  // namespace vbd::cli::report
