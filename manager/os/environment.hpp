// SPDX-License-Identifier: MIT
// The environment of a definition's scripts: all that they get, nothing of the caller's. Pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/model/instance_record.hpp"
#include "manager/os/definition.hpp"

namespace vbd::os {

/// What a script is told about the instance.
struct Guest {
  const InstanceRecord &record;  ///< its disks and os_parameters are the script's
  std::string hypervisor;        ///< as definitions know it: "xen-pvm", "xen-hvm", "kvm", or a profile's name
  std::map<std::string, std::string> backend_parameters, hypervisor_parameters;  ///< with the defaults
  std::vector<std::string> devices;  ///< block device nodes on this host, one for each of record.disks
};

/// "NAME=VALUE", sorted: for `verify`, which knows no instance. `variant`: of the definition.
[[nodiscard]] std::vector<std::string> core_environment(const Definition &definition,
                                                        const std::string &variant,
                                                        const std::map<std::string, std::string> &parameters);
/// The same for a script that works on an instance; `more` is added.
[[nodiscard]] std::vector<std::string> instance_environment(const Definition &definition,
                                                            const std::string &variant, const Guest &guest,
                                                            const std::map<std::string, std::string> &more);

/// The disk's own identity: of the instance's UUID and the file's name, so that it never changes.
[[nodiscard]] std::string disk_uuid(const InstanceRecord &record, const DiskRecord &disk);
/// The same for a network card, by its address.
[[nodiscard]] std::string nic_uuid(const InstanceRecord &record, const NicRecord &nic);

}  // namespace vbd::os
