// SPDX-License-Identifier: MIT
#include "core/plugin/options.hpp"

#include <algorithm>
#include <charconv>

#include <vbdkit/plugin.h>

#include "core/base/size.hpp"
#include "core/base/text.hpp"

namespace vbd::plugin {
namespace {

std::string range_text(const OptionInfo &option) {
  if (option.min == 0 && option.max == 0) return {};
  return text::cat(" ", option.min, "..", option.max);
}

Error wrong(const OptionInfo &option, const std::string &value, const std::string &where) {
  const std::string found = option.secret ? std::string("something else (a secret, not shown)")
                                          : text::cat("'", text::printable(value.substr(0, 200)), "'");
  return Error(kBadOption, text::cat(where, ": option ", option.name, ": expected ", option.type_text(),
                                     ", found ", found));
}

bool one_line(const std::string &value) {
  return std::none_of(value.begin(), value.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Result<std::string> check_number(const OptionInfo &option, const std::string &value,
                                 const std::string &where) {
  std::uint64_t number = 0;
  if (option.type == VBD_T_SIZE) {
    auto size = parse_size(value, SizeStyle::plain);
    if (!size) return wrong(option, value, where);
    number = *size;
  } else {
    const char *end = value.data() + value.size();
    const auto [stop, ec] = std::from_chars(value.data(), end, number);
    if (ec != std::errc() || stop != end || value.empty()) return wrong(option, value, where);
  }
  const bool limited = option.min != 0 || option.max != 0;
  if (limited && (number < option.min || number > option.max)) return wrong(option, value, where);
  return std::to_string(number);
}

Result<std::string> check_bool(const OptionInfo &option, const std::string &value, const std::string &where) {
  const std::string word = text::lower(value);
  if (word == "true" || word == "yes" || word == "on") return std::string("true");
  if (word == "false" || word == "no" || word == "off") return std::string("false");
  return wrong(option, value, where);
}

}  // namespace

std::string OptionInfo::type_text() const {
  switch (type) {
    case VBD_T_BOOL:
      return "bool";
    case VBD_T_U64:
      return text::cat("number", range_text(*this));
    case VBD_T_SIZE:
      return text::cat("size", range_text(*this));
    case VBD_T_PATH:
      return "absolute path";
    case VBD_T_ENUM:
      return choices;
    default:
      return "text";
  }
}

Result<std::string> check_option(const OptionInfo &option, const std::string &value,
                                 const std::string &where) {
  switch (option.type) {
    case VBD_T_BOOL:
      return check_bool(option, value, where);
    case VBD_T_U64:
    case VBD_T_SIZE:
      return check_number(option, value, where);
    case VBD_T_PATH:
      if (value.empty() || value.front() != '/' || !one_line(value)) return wrong(option, value, where);
      return value;
    case VBD_T_ENUM: {
      const auto choices = text::split(option.choices, '|');
      if (std::find(choices.begin(), choices.end(), value) == choices.end())
        return wrong(option, value, where);
      return value;
    }
    default:
      if (!one_line(value)) return wrong(option, value, where);
      return value;
  }
}

const OptionInfo *find_option(const std::vector<OptionInfo> &table, std::string_view name) {
  for (const OptionInfo &option : table) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

Result<std::string> check_named(const std::vector<OptionInfo> &table, const std::string &name,
                                const std::string &value, const std::string &where) {
  if (const OptionInfo *option = find_option(table, name)) return check_option(*option, value, where);
  std::vector<std::string> names;
  for (const OptionInfo &option : table) names.push_back(option.name);
  names = text::nearest_first(name, std::move(names));
  const std::string near = text::did_you_mean(name, names);
  std::string message = text::cat(where, ": unknown option ", text::printable(name));
  message +=
      names.empty() ? std::string("; there are none") : text::cat("; there are ", text::join(names, ", "));
  return Error(kUnknownOption, message, near.empty() ? std::string() : text::cat("did you mean ", near, "?"));
}

}  // namespace vbd::plugin
