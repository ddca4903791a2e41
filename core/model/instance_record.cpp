// SPDX-License-Identifier: MIT
#include "core/model/instance_record.hpp"

#include <algorithm>
#include <charconv>

#include "core/base/text.hpp"

namespace vbd {
namespace {

constexpr std::size_t kLetters = 26;
constexpr std::size_t kMaxName = 255;

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
bool is_letter(char c) {
  return c >= 'a' && c <= 'z';
}

}  // namespace

std::string disk_name(std::size_t index) {
  std::string name = "sd";
  if (index >= kLetters) name += static_cast<char>('a' + (index / kLetters - 1) % kLetters);
  name += static_cast<char>('a' + index % kLetters);
  return name;
}

std::optional<DiskName> parse_disk_name(std::string_view name) {
  if (!name.starts_with("sd")) return std::nullopt;
  name.remove_prefix(2);
  const auto letters =
      static_cast<std::size_t>(std::find_if_not(name.begin(), name.end(), is_letter) - name.begin());
  if (letters < 1 || letters > 2) return std::nullopt;
  DiskName result{static_cast<std::size_t>(name[letters - 1] - 'a'), std::nullopt};
  if (letters == 2) result.index += (static_cast<std::size_t>(name[0] - 'a') + 1) * kLetters;
  const std::string_view digits = name.substr(letters);
  if (digits.empty()) return result;
  unsigned partition = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), partition);
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.front() == '0')
    return std::nullopt;
  result.partition = partition;
  return result;
}

Result<void> check_instance_name(std::string_view name) {
  const auto refuse = [name](std::string_view why) {
    return Error{kBadName, text::cat("instance name '", text::printable(name.substr(0, 80)), "': ", why),
                 "use letters, digits, '.', '_' and '-', a letter or digit first"};
  };
  if (name.empty()) return refuse("empty");
  if (name.size() > kMaxName) return refuse(text::cat("longer than ", kMaxName, " bytes"));
  if (!is_alnum(name.front())) return refuse("does not begin with a letter or a digit");
  const auto allowed = [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; };
  if (!std::all_of(name.begin(), name.end(), allowed)) return refuse("a character that is not allowed");
  if (name.find("..") != std::string_view::npos) return refuse("'..' in it");
  return {};
}

}  // namespace vbd
