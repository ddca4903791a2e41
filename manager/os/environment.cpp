// SPDX-License-Identifier: MIT
// The names are those of ganeti-os-interface(7); what Ganeti 3.0 itself sets was recorded.
#include "manager/os/environment.hpp"

#include <charconv>
#include <chrono>
#include <cstdio>

#include "core/base/text.hpp"

namespace vbd::os {
namespace {

using text::cat;
using Variables = std::map<std::string, std::string>;

constexpr const char *kPath = "/sbin:/bin:/usr/sbin:/usr/bin";
constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;

/// "filesystem-type" -> "OSP_FILESYSTEM_TYPE"
std::string parameter_variable(const std::string &name) {
  std::string variable = cat("OSP_", text::upper(name));
  for (char &c : variable) {
    if (c == '-') c = '_';
  }
  return variable;
}

/// "2026-01-31T12:00:00Z" -> seconds since 1970; what is not of this form gives "0".
std::string epoch(const std::string &time) {
  int year = 0;
  unsigned month = 0, day = 0;
  int hour = 0, minute = 0, second = 0;
  if (std::sscanf(time.c_str(), "%4d-%2u-%2uT%2d:%2d:%2d", &year, &month, &day, &hour, &minute, &second) != 6)
    return "0";
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month),
                                         std::chrono::day(day)};
  if (!date.ok()) return "0";
  const std::chrono::seconds seconds = std::chrono::sys_days(date).time_since_epoch() +
                                       std::chrono::hours(hour) + std::chrono::minutes(minute) +
                                       std::chrono::seconds(second);
  return std::to_string(seconds.count());
}

/// An identity for a part of the instance that has none of its own and never changes its `name`.
std::string part_uuid(const InstanceRecord &record, const std::string &name) {
  // Version 8 of RFC 9562: half of the instance's, half a hash (FNV-1a, 64 bits) of the name.
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  char tail[24];
  std::snprintf(tail, sizeof tail, "-%04x-%012llx", static_cast<unsigned>((hash >> 48) & 0x3fff) | 0x8000u,
                static_cast<unsigned long long>(hash & 0xffffffffffffu));
  std::string uuid = record.uuid.substr(0, 18);
  if (uuid.size() == 18) uuid[14] = '8';
  return uuid + tail;
}

Variables core_variables(const Definition &definition, const std::string &variant,
                         const Variables &parameters) {
  Variables out{{"OS_API_VERSION", std::to_string(definition.api)},
                {"OS_NAME", definition.name},
                {"OS_VARIANT", variant},
                {"DEBUG_LEVEL", "0"},
                {"PATH", kPath}};
  for (const auto &[name, value] : parameters) out[parameter_variable(name)] = value;
  return out;
}

/// "FD_LOOP" -> "file:loop"
std::string backend_type(const Constant &driver) {
  return cat("file:", text::lower(driver.str().substr(3)));
}

void add_disks(const Guest &guest, Variables &out) {
  const auto &disks = guest.record.disks;
  const auto frontend = guest.hypervisor_parameters.find("disk_type");
  for (std::size_t i = 0; i < disks.size(); ++i) {
    const std::string prefix = cat("DISK_", i, "_");
    out[prefix + "ACCESS"] = disks[i].mode == DiskMode::rw ? "rw" : "ro";
    out[prefix + "UUID"] = disk_uuid(guest.record, disks[i]);
    out[prefix + "SIZE"] = std::to_string((disks[i].size + kMebi - 1) / kMebi);
    out[prefix + "BACKEND_TYPE"] = backend_type(disks[i].driver);
    if (i < guest.devices.size()) out[prefix + "PATH"] = guest.devices[i];
    if (frontend != guest.hypervisor_parameters.end()) out[prefix + "FRONTEND_TYPE"] = frontend->second;
  }
}

void set_given(Variables &out, const std::string &name, const std::string &value) {
  if (!value.empty()) out[name] = value;
}

void add_nics(const Guest &guest, Variables &out) {
  const auto &nics = guest.record.nics;
  const auto frontend = guest.hypervisor_parameters.find("nic_type");
  for (std::size_t i = 0; i < nics.size(); ++i) {
    const std::string prefix = cat("NIC_", i, "_");
    out[prefix + "MAC"] = nics[i].mac;
    out[prefix + "UUID"] = nic_uuid(guest.record, nics[i]);
    out[prefix + "MODE"] = nics[i].mode;
    set_given(out, prefix + "NAME", nics[i].name);
    set_given(out, prefix + "IP", nics[i].ip);
    set_given(out, prefix + "LINK", nics[i].link);
    if (nics[i].mode == "bridged") set_given(out, prefix + "BRIDGE", nics[i].link);
    set_given(out, prefix + "NETWORK_NAME", nics[i].network);
    if (frontend != guest.hypervisor_parameters.end()) out[prefix + "FRONTEND_TYPE"] = frontend->second;
  }
}

Variables instance_variables(const Guest &guest) {
  const InstanceRecord &record = guest.record;
  Variables out{{"INSTANCE_NAME", record.name},
                {"INSTANCE_OS", record.os},
                {"INSTANCE_UUID", record.uuid},
                {"INSTANCE_CTIME", epoch(record.created)},
                // The operation that runs the script is the last change.
                {"INSTANCE_MTIME", epoch(record.operation ? record.operation->started : record.created)},
                {"INSTANCE_PRIMARY_NODE", record.node},
                {"INSTANCE_SECONDARY_NODES", record.secondary},
                {"HYPERVISOR", guest.hypervisor},
                {"DISK_COUNT", std::to_string(record.disks.size())},
                {"NIC_COUNT", std::to_string(record.nics.size())}};
  for (const auto &[name, value] : guest.backend_parameters) out["INSTANCE_BE_" + name] = value;
  for (const auto &[name, value] : guest.hypervisor_parameters) out["INSTANCE_HV_" + name] = value;
  add_disks(guest, out);
  add_nics(guest, out);
  return out;
}

std::vector<std::string> to_words(const Variables &variables) {
  std::vector<std::string> words;
  for (const auto &[name, value] : variables) words.push_back(cat(name, "=", value));
  return words;
}

}  // namespace

std::string disk_uuid(const InstanceRecord &record, const DiskRecord &disk) {
  return part_uuid(record, disk.file);
}

std::string nic_uuid(const InstanceRecord &record, const NicRecord &nic) {
  return part_uuid(record, nic.mac);
}

std::vector<std::string> core_environment(const Definition &definition, const std::string &variant,
                                          const std::map<std::string, std::string> &parameters) {
  return to_words(core_variables(definition, variant, parameters));
}

std::vector<std::string> instance_environment(const Definition &definition, const std::string &variant,
                                              const Guest &guest,
                                              const std::map<std::string, std::string> &more) {
  Variables variables = core_variables(definition, variant, guest.record.os_parameters);
  variables.merge(instance_variables(guest));
  for (const auto &[name, value] : more) variables[name] = value;
  return to_words(variables);
}

}  // namespace vbd::os
