// SPDX-License-Identifier: MIT
#include "core/plugin/plugin.hpp"

namespace vbd::plugin {

void Facts::put(std::string key, Value value) {
  for (auto &[known, old] : facts_) {
    if (known != key) continue;
    old = std::move(value);
    return;
  }
  facts_.emplace_back(std::move(key), std::move(value));
}

const Facts::Value *Facts::find(std::string_view key) const {
  for (const auto &[known, value] : facts_) {
    if (known == key) return &value;
  }
  return nullptr;
}

std::string Facts::text(std::string_view key) const {
  const Value *value = find(key);
  if (value == nullptr) return {};
  if (const auto *string = std::get_if<std::string>(value)) return *string;
  if (const auto *number = std::get_if<std::uint64_t>(value)) return std::to_string(*number);
  return std::get<bool>(*value) ? "true" : "false";
}

std::uint64_t Facts::number(std::string_view key) const {
  const Value *value = find(key);
  const auto *number = value == nullptr ? nullptr : std::get_if<std::uint64_t>(value);
  return number == nullptr ? 0 : *number;
}

bool Facts::flag(std::string_view key) const {
  const Value *value = find(key);
  const auto *flag = value == nullptr ? nullptr : std::get_if<bool>(value);
  return flag != nullptr && *flag;
}

std::map<std::string, std::string> Facts::properties() const {
  constexpr std::string_view prefix = "prop.";
  std::map<std::string, std::string> found;
  for (const auto &[key, value] : facts_) {
    if (key.starts_with(prefix)) found.emplace(key.substr(prefix.size()), text(key));
  }
  return found;
}

}  // namespace vbd::plugin
