// SPDX-License-Identifier: MIT
// What the user gave, by key: an option's long name ("dry-run") or an argument's name ("NAME"). Plain data.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace vbd::cli {

class Arguments {
 public:
  void add(std::string_view key, std::string value) { values_[std::string(key)].push_back(std::move(value)); }

  [[nodiscard]] bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  /// The value, or `fallback` when it was not given.
  [[nodiscard]] std::string value(std::string_view key, std::string_view fallback = {}) const {
    const auto found = values_.find(key);
    return std::string(found == values_.end() ? fallback : std::string_view(found->second.front()));
  }
  /// All values of an option that may be repeated, in order; as many empty ones as a counted flag was given.
  [[nodiscard]] std::vector<std::string> values(std::string_view key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? std::vector<std::string>{} : found->second;
  }

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

}  // namespace vbd::cli
