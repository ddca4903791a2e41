// SPDX-License-Identifier: MIT
#include "manager/hypervisor/outside.hpp"

#include <algorithm>

#include "core/base/text.hpp"

namespace vbd::hypervisor {
namespace {

using text::cat;

constexpr std::size_t kLongestNumber = 18;
constexpr std::string_view kNumeral = "0123456789";
constexpr std::string_view kWordLetters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-";
/// What a POSIX shell takes as it stands.
constexpr std::string_view kShellPlain =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=,@%+-";

bool made_of(std::string_view value, std::string_view allowed) {
  return !value.empty() && value.find_first_not_of(allowed) == std::string_view::npos;
}

bool has_form(const std::string &form, const std::string &value) {
  if (form == "number") return value.size() <= kLongestNumber && made_of(value, kNumeral);
  if (form == "word") return made_of(value, kWordLetters);
  if (form == "text") return text::is_printable_utf8(value);
  const auto values = text::split(form, '|');
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// The mode of a card that says none.
std::string default_mode(const Profile &profile) {
  const std::string &first = nic_modes().front();
  return profile.nics.empty() || profile.nics.contains(first) ? first : profile.nics.begin()->first;
}

/// A backslash before what would end a value: the grammar of -B, -H and -O.
std::string escaped(const std::string &value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string shell_word(const std::string &word) {
  if (made_of(word, kShellPlain)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// "-B memory=512 -H kernel_path=/k,serial=null --net 0:link=br0"
std::string words_of(const std::vector<BroughtWord> &list, const std::string &reason) {
  std::vector<std::string> words;
  std::string option, pairs;
  const auto flush = [&] {
    if (pairs.empty()) return;
    constexpr std::string_view kCard = "--net ";
    const bool card = option.starts_with(kCard);
    words.push_back(card ? cat(kCard, shell_word(cat(option.substr(kCard.size()), ":", pairs)))
                         : cat(option, " ", shell_word(pairs)));
    pairs.clear();
  };
  for (const auto &one : list) {
    if (one.reason != reason) continue;
    if (one.option != option) flush();
    option = one.option;
    pairs += cat(pairs.empty() ? "" : ",", one.name, "=", escaped(one.value));
  }
  flush();
  return text::join(words, " ");
}

}  // namespace

bool is_form(const std::string &form) {
  if (form == "number" || form == "word" || form == "text") return true;
  if (form.find('|') == std::string::npos) return false;
  const auto values = text::split(form, '|');
  return std::none_of(values.begin(), values.end(), [](const std::string &value) { return value.empty(); });
}

Parameters Outside::take(const std::string &option, const Parameters &found, Parameters given) const {
  const auto known = parameter_names(profile);
  for (const auto &[name, value] : found) {
    if (value.empty() || given.contains(name)) continue;
    if (!known.contains(name)) {
      brought.left_out.push_back({option, name, value, "unknown"});
      continue;
    }
    const auto form = profile.portable.find(name);
    if (!trust && (form == profile.portable.end() || !has_form(form->second, value))) {
      brought.left_out.push_back({option, name, value, "host"});
      continue;
    }
    brought.taken.push_back({option, name, value});
    given.emplace(name, value);
  }
  return given;
}

Parameters Outside::take_os(const Parameters &found, Parameters given) const {
  for (const auto &[name, value] : found) {
    if (given.contains(name)) continue;
    if (!trust && value.find('/') != std::string::npos) {
      brought.left_out.push_back({"-O", name, value, "host"});
      continue;
    }
    brought.taken.push_back({"-O", name, value});
    given.emplace(name, value);
  }
  return given;
}

std::vector<NicRecord> Outside::take(const std::vector<NicRecord> &found) const {
  std::vector<NicRecord> out;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::string option = cat("--net ", i);
    NicRecord nic;
    nic.mode = default_mode(profile);
    for (const auto &field : nic_fields()) {
      const std::string &value = *nic_field(found[i], field);
      if (value.empty()) continue;
      if (trust || profile.portable_nics.contains(field) || value == *nic_field(nic, field)) {
        *nic_field(nic, field) = value;
        brought.taken.push_back({option, field, value});
      } else {
        brought.left_out.push_back({option, field, value, "host"});
      }
    }
    out.push_back(std::move(nic));
  }
  return out;
}

std::vector<std::string> describe(const Brought &brought) {
  std::vector<std::string> lines;
  const auto add = [&lines](const std::string &words, std::string_view before, std::string_view after) {
    if (!words.empty()) lines.push_back(cat(before, words, after));
  };
  add(words_of(brought.taken, ""), "parameters taken: ", "");
  add(words_of(brought.left_out, "host"), "parameters left out, for they may name things of this host: ",
      " (give those that you want, or --trust-parameters)");
  add(words_of(brought.left_out, "unknown"),
      "parameters left out, for the hypervisor's profile has none of the name: ", "");
  return lines;
}

}  // namespace vbd::hypervisor
