// SPDX-License-Identifier: MIT
#include "manager/instance/os_scripts.hpp"

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/signals.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/instance/hold.hpp"

namespace vbd::instance {
namespace {

using text::cat;

std::string holder_of(const InstanceRecord &record) {
  return cat("instance:", record.name);
}

bool is_backend(const std::string &name) {
  return name == "memory" || name == "maxmem" || name == "minmem" || name == "vcpus";
}

class Attached {
 public:
  Attached(const Manager &manager, const InstanceRecord &record) : manager_(manager), record_(record) {}

  Result<std::vector<std::string>> attach_all(const sys::Signals &signals) {
    std::vector<std::string> nodes;
    for (const auto &disk : record_.disks) {
      VBD_TRY(signals.check());
      device::AttachSpec spec{logical_id(record_, disk), holder_of(record_), disk.mode == DiskMode::ro,
                              disk.driver_options};
      spec.locked = true;
      VBD_TRY_ASSIGN(auto attachment, device::attach({manager_.settings, manager_.registry}, spec));
      nodes.push_back(attachment.node);
    }
    return nodes;
  }

  /// All of them, the first error told.
  Result<void> detach_all() {
    Result<void> result;
    for (auto disk = record_.disks.rbegin(); disk != record_.disks.rend(); ++disk) {
      auto gone = detach_one(logical_id(record_, *disk));
      if (!gone && result) result = gone;
    }
    return result;
  }

 private:
  Result<void> detach_one(const LogicalId &id) {
    auto gone = device::detach({manager_.settings, manager_.registry}, id, holder_of(record_), false, true);
    if (!gone && gone.error().is(sys::kNotFound)) return {};
    return gone;
  }

  const Manager &manager_;
  const InstanceRecord &record_;
};

}  // namespace

Result<os::Guest> describe_guest(const Manager &manager, const InstanceRecord &record,
                                 std::vector<std::string> devices) {
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  os::Guest guest{record, {}, record.backend, record.hypervisor, std::move(devices)};
  for (const auto &[name, value] : profile.defaults) {
    auto &to = is_backend(name) ? guest.backend_parameters : guest.hypervisor_parameters;
    if (!record.backend.contains(name) && !record.hypervisor.contains(name)) to[name] = value;
  }
  guest.hypervisor = hypervisor::outside_name(manager.settings.hypervisor, guest.hypervisor_parameters);
  return guest;
}

Result<void> verify_parameters(const Manager &manager, const os::Definition &definition,
                               const InstanceRecord &record) {
  VBD_TRY_ASSIGN(auto name, os::parse_os_name(record.os));
  return os::run_verify({manager.settings, manager.runner}, definition, name.variant, record.os_parameters);
}

Result<void> run_on_disks(const Manager &manager, const Site &site, const InstanceRecord &record,
                          const Script &script) {
  const sys::Signals signals;
  Attached disks(manager, record);
  auto devices = disks.attach_all(signals);
  Result<void> done;
  if (!devices) done = devices.error();
  if (done) {
    auto guest = describe_guest(manager, record, std::move(*devices));
    const os::Call call{manager.settings, manager.runner, {site.lock->fd()}, signals.fd()};
    done = guest ? script(call, *guest) : guest.error();
  }
  auto detached = disks.detach_all();
  if (detached || !done) return done;
  return detached;
}

Result<void> run_install(const Manager &manager, const Site &site, const InstanceRecord &record,
                         const os::Definition &definition, bool reinstall) {
  return run_on_disks(manager, site, record, [&](const os::Call &call, const os::Guest &guest) {
    return os::run_create(call, definition, guest, reinstall);
  });
}

Result<void> detach_left(const Manager &manager, const InstanceRecord &record) {
  if (!record.operation || !record.operation->details.contains(kScriptDetail)) return {};
  VBD_TRY(check_unleased(manager, record));
  return Attached(manager, record).detach_all();
}

Result<void> settle_export(const Manager &manager, Work &work) {
  VBD_TRY(release_held(manager, work.record));
  VBD_TRY(detach_left(manager, work.record));
  VBD_TRY_ASSIGN(auto record,
                 Catalog(manager.settings)
                     .read_record(work.site.directory.get(), work.site.path));  // without the lease, by now
  work.record = std::move(record);
  return end_operation(manager, work);
}

}  // namespace vbd::instance
