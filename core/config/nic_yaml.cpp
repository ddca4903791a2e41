// SPDX-License-Identifier: MIT
#include "core/config/nic_yaml.hpp"

#include "core/base/text.hpp"

namespace vbd::config {
namespace {

Result<NicRecord> read_nic(const Node &node) {
  VBD_TRY(check_keys(node, nic_fields()));
  const Fields fields(node);
  NicRecord nic;
  VBD_TRY(fields.read({{"mac", &nic.mac}, {"mode", &nic.mode}}));
  VBD_TRY(fields.read({{"ip", &nic.ip},
                       {"link", &nic.link},
                       {"network", &nic.network},
                       {"name", &nic.name},
                       {"vlan", &nic.vlan}},
                      Fields::Need::optional));
  if (auto good = check_nic(nic); !good) return bad_value(node, good.error().message());
  return nic;
}

}  // namespace

Result<void> read_nics(const Fields &fields, std::vector<NicRecord> &out) {
  const Node *list = fields.optional("nics");
  if (list == nullptr) return {};
  if (list->kind != Node::Kind::list) return bad_value(*list, "expected a list of network cards");
  if (list->items.size() > kMaxNics) {
    return bad_value(*list, text::cat("more than ", kMaxNics, " network cards"));
  }
  for (const Node &item : list->items) {
    auto nic = read_nic(item);
    if (!nic) return nic.error();
    out.push_back(*std::move(nic));
  }
  return {};
}

std::string lines_of(const std::vector<NicRecord> &nics) {
  if (nics.empty()) return {};
  std::string out = "nics:\n";
  for (const NicRecord &nic : nics) {
    std::string_view indent = "  - ";
    for (const std::string &field : nic_fields()) {
      const std::string &value = *nic_field(nic, field);
      if (value.empty()) continue;
      out += text::cat(indent, field, ": ", yaml_scalar(value), "\n");
      indent = "    ";
    }
  }
  return out;
}

}  // namespace vbd::config
