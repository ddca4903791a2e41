// SPDX-License-Identifier: MIT
#include "core/base/text.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/site.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// A driver's own string, or the node of an attached disk as the profile writes it. `missing`: where disks
/// are noted that have no node; without it that is an error.
Result<hypervisor::GuestDisk> render_disk(const Manager &manager, const hypervisor::Profile &profile,
                                          const InstanceRecord &record, const DiskRecord &disk,
                                          std::vector<std::string> *missing) {
  const bool read_only = disk.mode == DiskMode::ro;
  device::RenderSpec spec{logical_id(record, disk), profile.dialect,
                          hypervisor::guest_vdev(profile, disk.vdev), read_only, disk.driver_options};
  auto text = device::render({manager.settings, manager.registry}, spec);
  if (!text && missing != nullptr && text.error().is(device::kDialect)) {
    missing->push_back(disk.file);
    text = stand_in(disk.file);
  }
  if (!text) return text.error();
  const std::string vdev = hypervisor::guest_vdev(profile, disk.vdev);
  if (!text->starts_with("/dev/")) return hypervisor::GuestDisk{*text, vdev, read_only};
  VBD_TRY_ASSIGN(auto node, hypervisor::node_disk(profile, *text, disk.vdev, read_only));
  return hypervisor::GuestDisk{node, vdev, read_only};
}

Result<std::string> render_all(const Manager &manager, const hypervisor::Profile &profile,
                               const InstanceRecord &record, std::vector<std::string> *missing) {
  std::vector<hypervisor::GuestDisk> disks;
  for (const auto &disk : record.disks) {
    VBD_TRY_ASSIGN(auto rendered, render_disk(manager, profile, record, disk, missing));
    disks.push_back(std::move(rendered));
  }
  auto parameters = record.hypervisor;
  parameters.insert(record.backend.begin(), record.backend.end());
  return hypervisor::render_config(profile, record.name, parameters, disks, record.nics, record.uuid);
}

}  // namespace

std::string stand_in(const std::string &disk) {
  return cat("/dev/NODE-OF-", disk);
}

Result<std::string> render_for(const Manager &manager, const hypervisor::Profile &profile,
                               const InstanceRecord &record) {
  return render_all(manager, profile, record, nullptr);
}

Result<ConfigFile> config_file(const Manager &manager, const std::string &name) {
  VBD_TRY_ASSIGN(auto entry, Catalog(manager.settings).find(name));
  const InstanceRecord &record = entry.record;
  switch (entry.state) {
    case State::foreign:
      return Error(kForeign, cat("instance ", name, ": foreign: ", entry.reason));
    case State::interrupted:
      return Error(kInterrupted, cat("instance ", name, ": ", entry.reason));
    case State::unreachable:
    case State::error:
      return Error(kUnreachable, cat("instance ", name, ": ", entry.reason));
    default:
      break;
  }
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  ConfigFile config;
  auto text = render_all(manager, profile, record, &config.missing);
  if (!text) return text.error();
  config.text = *std::move(text);
  return config;
}

}  // namespace vbd::instance
