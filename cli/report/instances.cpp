// SPDX-License-Identifier: MIT
#include "cli/report/instances.hpp"

#include <algorithm>

#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

std::uint64_t size_of(const InstanceRecord &record) {
  std::uint64_t size = 0;
  for (const DiskRecord &disk : record.disks) size += disk.size;
  return size;
}

std::string value_in(const std::map<std::string, std::string> &map, const std::string &key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

struct Field {
  std::string_view name;
  std::string (*value)(const instance::Entry &);
};
constexpr Field kFields[] = {
    {"name", [](const instance::Entry &e) { return e.record.name; }},
    {"state", [](const instance::Entry &e) { return std::string(instance::state_text(e.state)); }},
    {"node", [](const instance::Entry &e) { return e.record.node; }},
    {"disks", [](const instance::Entry &e) { return std::to_string(e.record.disks.size()); }},
    {"size", [](const instance::Entry &e) { return format_size(size_of(e.record)); }},
    {"directory", [](const instance::Entry &e) { return e.record.directory; }},
    {"secondary", [](const instance::Entry &e) { return e.record.secondary; }},
    {"os", [](const instance::Entry &e) { return e.record.os; }},
    {"uuid", [](const instance::Entry &e) { return e.record.uuid; }},
    {"created", [](const instance::Entry &e) { return e.record.created; }},
    {"reason", [](const instance::Entry &e) { return e.reason; }},
    {"pnode", [](const instance::Entry &e) { return e.record.node; }},
    {"snodes", [](const instance::Entry &e) { return e.record.secondary; }},
    {"memory", [](const instance::Entry &e) { return value_in(e.record.backend, "memory"); }},
    {"vcpus", [](const instance::Entry &e) { return value_in(e.record.backend, "vcpus"); }},
    {"disk.count", [](const instance::Entry &e) { return std::to_string(e.record.disks.size()); }},
};
constexpr std::size_t kUsual = 6;  // the first ones

const Field *find_field(std::string_view name) {
  const auto *found =
      std::find_if(std::begin(kFields), std::end(kFields), [&](const Field &f) { return f.name == name; });
  return found == std::end(kFields) ? nullptr : found;
}

/// Fields with something behind the slash: "disk.size/0", "be/memory", "hv/kernel", "os/release". Nothing: no
/// such field.
std::optional<std::string> keyed_value(std::string_view name, const instance::Entry &entry) {
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos || slash + 1 == name.size()) return {};
  const std::string_view what = name.substr(0, slash);
  const std::string key(name.substr(slash + 1));
  if (what == "be") return value_in(entry.record.backend, key);
  if (what == "hv") return value_in(entry.record.hypervisor, key);
  if (what == "os") return value_in(entry.record.os_parameters, key);
  if (what != "disk.size" || key.size() > 3 || key.find_first_not_of("0123456789") != std::string::npos)
    return {};
  const auto index = static_cast<std::size_t>(std::stoul(key));
  const auto &disks = entry.record.disks;
  return index < disks.size() ? format_size(disks[index].size) : std::string();
}

json::Value text_or_null(const std::string &text) {
  return text.empty() ? json::Value{} : json::Value{text};
}

json::Value disks_json(const std::vector<DiskRecord> &disks, const std::vector<DiskView> &views) {
  json::Array list;
  for (std::size_t i = 0; i < disks.size(); ++i) {
    json::Value disk;
    disk.set("index", std::uint64_t{i}).set("logical_id", to_json(views[i].id)).set("size", disks[i].size);
    disk.set("allocated", views[i].allocated ? json::Value{*views[i].allocated} : json::Value{});
    disk.set("vdev", disks[i].vdev).set("mode", disks[i].mode == DiskMode::rw ? "rw" : "ro");
    disk.set("device", views[i].device ? json::Value{*views[i].device} : json::Value{});
    disk.set("created", disks[i].created).set("driver_options", to_json(disks[i].driver_options));
    disk.set("filetype_options", to_json(disks[i].filetype_options))
        .set("problem", text_or_null(views[i].problem));
    list.push_back(std::move(disk));
  }
  return list;
}

json::Value nics_json(const std::vector<NicRecord> &nics) {
  json::Array list;
  for (std::size_t i = 0; i < nics.size(); ++i) {
    json::Value nic;
    nic.set("index", std::uint64_t{i});
    for (const std::string &field : nic_fields()) nic.set(field, text_or_null(*nic_field(nics[i], field)));
    list.push_back(std::move(nic));
  }
  return list;
}

json::Value head_json(const instance::Entry &entry) {
  const InstanceRecord &record = entry.record;
  json::Value value;
  value.set("name", record.name)
      .set("state", instance::state_text(entry.state))
      .set("node", text_or_null(record.node));
  value.set("secondary", text_or_null(record.secondary)).set("directory", record.directory);
  return value;
}

void add_tail(json::Value &value, const instance::Entry &entry) {
  const InstanceRecord &record = entry.record;
  value.set("os", text_or_null(record.os))
      .set("uuid", record.uuid)
      .set("created", text_or_null(record.created));
  value.set("reason", text_or_null(entry.reason));
}

json::Value instance_json(const instance::Entry &entry, const std::vector<DiskView> &disks) {
  const InstanceRecord &record = entry.record;
  json::Value value;
  value.set("schema", "vbdkit.instance/1");
  const json::Value head = head_json(entry);  // a temporary would be gone in the loop
  for (const auto &[key, member] : *head.as_object()) value.set(key, member);
  value.set("disks", disks_json(record.disks, disks));
  value.set("nics", nics_json(record.nics));
  add_tail(value, entry);
  value.set("backend", to_json(record.backend)).set("hypervisor", to_json(record.hypervisor));
  return value.set("os_parameters", to_json(record.os_parameters));
}

std::string disk_text(const DiskRecord &disk, const DiskView &view, std::size_t index) {
  std::string line =
      text::cat("  ", index, ": ", text::printable(view.id.str()), "\n     size ", format_size(disk.size));
  line += view.allocated ? text::cat(" (", disk.size, "), allocated ", format_size(*view.allocated))
                         : ", allocated unknown";
  line +=
      text::cat(", vdev ", text::printable(disk.vdev), ", ", disk.mode == DiskMode::rw ? "rw" : "ro", ", ");
  line += view.device ? text::cat("device ", *view.device) : std::string("not attached");
  if (!view.problem.empty()) line += text::cat("\n     problem: ", text::printable(view.problem));
  return line + "\n";
}

std::string nic_text(const NicRecord &nic, std::size_t index) {
  std::string line = text::cat("  ", index, ": ", nic.mac, ", ", nic.mode);
  for (const std::string &field : nic_fields()) {
    const std::string &value = *nic_field(nic, field);
    if (field != "mac" && field != "mode" && !value.empty()) line += text::cat(", ", field, " ", value);
  }
  return line + "\n";
}

std::string map_text(const std::map<std::string, std::string> &map) {
  std::vector<std::string> words;
  for (const auto &[key, value] : map) words.push_back(text::cat(key, "=", value));
  return text::join(words, ", ");
}

}  // namespace

Result<std::vector<std::string>> instance_fields(std::string_view wanted) {
  std::vector<std::string> fields, known;
  for (const Field &field : kFields) known.emplace_back(field.name);
  const bool add = wanted.starts_with('+');
  if (add) wanted.remove_prefix(1);
  if (add || wanted.empty()) fields.assign(known.begin(), known.begin() + kUsual);
  if (wanted.empty()) return fields;
  for (const std::string &name : text::split(wanted, ',')) {
    if (find_field(name) == nullptr && !keyed_value(name, {})) {
      const std::string near = text::did_you_mean(name, known);
      return Error{kBadValue,
                   text::cat("-o ", text::printable(name), ": no such field",
                             near.empty() ? "" : "; did you mean '" + near + "'?"),
                   text::cat("fields: ", text::join(known, ", "), ", disk.size/N, be/KEY, hv/KEY, os/KEY")};
    }
    fields.push_back(name);
  }
  return fields;
}

Outcome instances(bool json, const std::vector<instance::Entry> &entries, const ListLook &look) {
  if (json) {
    json::Array list;
    for (const instance::Entry &entry : entries) {
      json::Value value = head_json(entry);
      value.set("disks", std::uint64_t{entry.record.disks.size()}).set("size", size_of(entry.record));
      add_tail(value, entry);
      list.push_back(std::move(value));
    }
    return {{}, json::Object{{"schema", "vbdkit.instances/1"}, {"instances", std::move(list)}}};
  }
  Table table;
  table.separator = look.separator;
  table.bold = look.color;
  for (const std::string &field : look.fields) {
    if (!look.no_headers) table.headers.push_back(text::upper(field));
  }
  for (const instance::Entry &entry : entries) {
    std::vector<std::string> row;
    for (const std::string &field : look.fields) {
      const Field *plain = find_field(field);
      row.push_back(plain != nullptr ? plain->value(entry) : keyed_value(field, entry).value_or(""));
    }
    table.rows.push_back(std::move(row));
  }
  return {table_text(table), {}};
}

Outcome instance(bool json, const instance::Entry &entry, const std::vector<DiskView> &disks) {
  if (json) return {{}, instance_json(entry, disks)};
  const InstanceRecord &record = entry.record;
  std::string out = pairs_text({{"name", record.name},
                                {"state", instance::state_text(entry.state)},
                                {"reason", entry.reason},
                                {"node", record.node},
                                {"secondary", record.secondary},
                                {"os", record.os},
                                {"directory", record.directory},
                                {"uuid", record.uuid},
                                {"created", record.created},
                                {"backend", map_text(record.backend)},
                                {"hypervisor", map_text(record.hypervisor)},
                                {"os parameters", map_text(record.os_parameters)}});
  out += record.disks.empty() ? "disks: none\n" : "disks:\n";
  for (std::size_t i = 0; i < record.disks.size(); ++i) out += disk_text(record.disks[i], disks[i], i);
  if (!record.nics.empty()) out += "network cards:\n";
  for (std::size_t i = 0; i < record.nics.size(); ++i) out += nic_text(record.nics[i], i);
  return {std::move(out), {}};
}

}  // namespace vbd::cli::report
