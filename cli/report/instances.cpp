// SPDX-License-Identifier: MIT
#include "cli/report/instances.hpp"

#include "cli/report/report.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

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

instance::Usage usage_of(const std::vector<DiskView> &views) {
  instance::Usage usage;
  for (const DiskView &view : views) usage.push_back(view.allocated);
  return usage;
}

json::Value instance_json(const instance::Entry &entry, const std::vector<DiskView> &disks) {
  const InstanceRecord &record = entry.record;
  json::Value value;
  value.set("schema", "vbdkit.instance/1");
  add_head(value, entry);
  value.set("disks", disks_json(record.disks, disks));
  add_sums(value, entry, usage_of(disks));
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
