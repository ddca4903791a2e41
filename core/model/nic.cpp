// SPDX-License-Identifier: MIT
#include "core/model/nic.hpp"

#include <arpa/inet.h>

#include <algorithm>

#include "core/base/text.hpp"

namespace vbd {
namespace {

using text::cat;

constexpr std::size_t kMacLength = 17;
constexpr std::size_t kLongestName = 255;

bool all_of(std::string_view value, std::string_view allowed) {
  return value.find_first_not_of(allowed) == std::string_view::npos;
}

bool is_address(const std::string &value) {
  in6_addr address{};  // has room for both
  return inet_pton(AF_INET, value.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, value.c_str(), &address) == 1;
}

/// Characters that no hypervisor's string gives a meaning to.
bool is_word(std::string_view value, std::string_view more = "") {
  const auto good = [more](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '-' || c == '.' || more.find(c) != std::string_view::npos;
  };
  return value.size() <= kLongestName && std::all_of(value.begin(), value.end(), good);
}

bool is_good(std::string_view field, const std::string &value) {
  if (field == "mac") return is_mac(value);
  if (field == "mode") {
    return std::find(nic_modes().begin(), nic_modes().end(), value) != nic_modes().end();
  }
  if (value.empty()) return true;
  if (field == "ip") return is_address(value);
  if (field == "vlan") return value.size() <= kLongestName && all_of(value, "0123456789.:");
  return is_word(value, field == "link" ? ":" : "");
}

std::string expected(std::string_view field) {
  if (field == "mac") return "six bytes like aa:00:00:12:34:56, the first one even";
  if (field == "mode") return text::join(nic_modes(), ", ");
  if (field == "ip") return "an IPv4 or IPv6 address";
  if (field == "vlan") return "a tag and trunks like .100 or .100:200";
  return field == "link" ? "letters, digits and . _ - :" : "letters, digits and . _ -";
}

}  // namespace

const std::vector<std::string> &nic_modes() {
  static const std::vector<std::string> modes = {"bridged", "routed", "openvswitch", "user"};
  return modes;
}

const std::vector<std::string> &nic_fields() {
  static const std::vector<std::string> fields = {"mac", "ip", "mode", "link", "network", "name", "vlan"};
  return fields;
}

const std::string *nic_field(const NicRecord &nic, std::string_view field) {
  const std::pair<std::string_view, const std::string *> members[] = {
      {"mac", &nic.mac},         {"ip", &nic.ip},     {"mode", &nic.mode}, {"link", &nic.link},
      {"network", &nic.network}, {"name", &nic.name}, {"vlan", &nic.vlan}};
  for (const auto &[name, member] : members) {
    if (name == field) return member;
  }
  return nullptr;
}

std::string *nic_field(NicRecord &nic, std::string_view field) {
  return const_cast<std::string *>(nic_field(static_cast<const NicRecord &>(nic), field));
}

bool is_mac(std::string_view text) {
  if (text.size() != kMacLength || text == "00:00:00:00:00:00") return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool colon = i % 3 == 2;
    if (colon ? text[i] != ':' : !all_of(text.substr(i, 1), "0123456789abcdef")) return false;
  }
  // The lowest bit of the first byte marks a group of cards (IEEE 802).
  return std::string_view("02468ace").find(text[1]) != std::string_view::npos;
}

Result<void> check_nic_field(std::string_view field, const std::string &value) {
  if (is_good(field, value)) return {};
  return Error(kBadNic,
               cat(field, " '", text::printable(value.substr(0, 80)), "': expected ", expected(field)));
}

Result<void> check_nic(const NicRecord &nic) {
  for (const auto &field : nic_fields()) {
    if (auto good = check_nic_field(field, *nic_field(nic, field)); !good) return good;
  }
  return {};
}

}  // namespace vbd
