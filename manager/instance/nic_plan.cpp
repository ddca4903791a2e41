// SPDX-License-Identifier: MIT
// Network cards of a new instance: complete, each with an address that no other instance of this host has.
#include <algorithm>
#include <map>

#include "core/base/text.hpp"
#include "core/sys/host.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/instance/add_plan.hpp"

namespace vbd::instance {
namespace {

using text::cat;

/// Ganeti's default prefix: its second-lowest bit says that the address is not a manufacturer's (IEEE 802).
constexpr std::string_view kMacPrefix = "aa:00:00";

using Owners = std::map<std::string, std::string>;  // address -> instance

Result<Owners> known_macs(const config::Settings &settings) {
  VBD_TRY_ASSIGN(auto entries, Catalog(settings).list());
  Owners owners;
  for (const auto &entry : entries) {
    for (const auto &nic : entry.record.nics) owners.emplace(nic.mac, entry.record.name);
  }
  return owners;
}

Result<std::string> new_mac(const Owners &taken) {
  for (;;) {
    VBD_TRY_ASSIGN(auto random, sys::new_uuid());
    std::string mac(kMacPrefix);
    for (std::size_t i = 0; i < 6; i += 2) mac += cat(":", random.substr(i, 2));
    if (!taken.contains(mac)) return mac;
  }
}

Result<void> check_nic_numbers(const AddSpec &spec) {
  for (std::size_t i = 0; i < spec.nics.size(); ++i) {
    const auto count =
        std::count_if(spec.nics.begin(), spec.nics.end(), [i](const NicSpec &nic) { return nic.index == i; });
    if (count > 1) return Error(kGrammar, cat("--net ", i, ": stands twice"));
    if (count == 0) {
      return Error(kGrammar, cat("--net: there is no network card ", i), "number the cards 0, 1, 2, ...");
    }
  }
  return {};
}

}  // namespace

Result<std::vector<NicRecord>> plan_nics(const Manager &manager, const AddSpec &spec) {
  if (spec.nics.empty()) return std::vector<NicRecord>{};
  VBD_TRY(check_nic_numbers(spec));
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  VBD_TRY_ASSIGN(auto taken, known_macs(manager.settings));
  std::vector<NicRecord> nics(spec.nics.size());
  for (const auto &wanted : spec.nics) {
    const std::string where = cat("--net ", wanted.index);
    NicRecord &nic = nics[wanted.index];
    nic = wanted.nic;
    VBD_TRY(hypervisor::check_nic_mode(profile, nic.mode, where));
    if (nic.mac.empty()) {
      VBD_TRY_ASSIGN(auto mac, new_mac(taken));
      nic.mac = mac;
    }
    const auto [owner, free] = taken.emplace(nic.mac, spec.name);
    if (!free) {
      return Error(kMacInUse, cat(where, ": mac ", nic.mac, ": is in use by the instance ", owner->second),
                   "mac=generate makes a new one");
    }
    if (auto good = check_nic(nic); !good) return good.error().at(where);
  }
  return nics;
}

}  // namespace vbd::instance
