// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/base/text.hpp"
#include "core/plugin/describe.hpp"
#include "core/plugin/plugin.hpp"

namespace vbd::plugin {
namespace {

constexpr uint32_t kMaxOptions = 256, kMaxStride = 1024;
constexpr uint32_t kFirstStride = offsetof(vbd_option, flags) + sizeof(uint32_t);  // as in 1.0
constexpr std::size_t kMaxText = 4096;

bool is_name(const char *name) {
  if (name == nullptr || name[0] < 'a' || name[0] > 'z') return false;
  const std::size_t length = ::strnlen(name, 33);
  return length <= 32 && std::all_of(name, name + length, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

bool is_line(const char *text) {
  return text != nullptr && ::strnlen(text, kMaxText) < kMaxText && text::is_printable_utf8(text);
}

bool are_choices(const char *choices) {
  if (!is_line(choices)) return false;
  const auto list = text::split(choices, '|');
  return std::none_of(list.begin(), list.end(), [](const std::string &choice) { return choice.empty(); });
}

/// What is wrong with one entry, or "".
std::string flaw_of(const vbd_option &option) {
  if (!is_line(option.help) || option.help[0] == '\0') return "its help is not one line of text";
  if (option.type < VBD_T_BOOL || option.type > VBD_T_ENUM)
    return text::cat("type ", option.type, " is unknown");
  if (option.type == VBD_T_ENUM && !are_choices(option.choices)) return "an enum needs choices \"a|b\"";
  if (option.type != VBD_T_ENUM && option.choices != nullptr) return "choices are for enums only";
  if (option.min > option.max) return text::cat("min ", option.min, " is above max ", option.max);
  const bool number = option.type == VBD_T_U64 || option.type == VBD_T_SIZE;
  if (!number && (option.min != 0 || option.max != 0)) return "limits are for numbers only";
  if ((option.flags & VBD_OPT_CREATE) != 0 && (option.flags & VBD_OPT_PER_IMAGE) == 0)
    return "CREATE without PER_IMAGE";
  if ((option.flags & VBD_OPT_REQUIRED) != 0 && option.dflt != nullptr) return "required, and has a default";
  if (option.dflt != nullptr && !is_line(option.dflt)) return "its default is not one line of text";
  return {};
}

OptionInfo info_of(const vbd_option &option) {
  OptionInfo info;
  info.name = option.name;
  info.help = option.help;
  info.has_default = option.dflt != nullptr;
  if (info.has_default) info.default_value = option.dflt;
  if (option.choices != nullptr) info.choices = option.choices;
  info.required = (option.flags & VBD_OPT_REQUIRED) != 0;
  info.secret = (option.flags & VBD_OPT_SECRET) != 0;
  info.per_image = (option.flags & VBD_OPT_PER_IMAGE) != 0;
  info.create_only = (option.flags & VBD_OPT_CREATE) != 0;
  info.type = option.type;
  info.min = option.min;
  info.max = option.max;
  return info;
}

}  // namespace

Result<std::vector<OptionInfo>> read_options(const vbd_plugin &plugin, const std::string &path) {
  const auto bad = [&path](std::string_view why) {
    return Error(kBadOptionTable, text::cat(text::printable(path), ": option table: ", why));
  };
  std::vector<OptionInfo> table;
  if (plugin.n_options == 0) return table;
  if (plugin.options == nullptr) return bad(text::cat(plugin.n_options, " options, but the table is NULL"));
  if (plugin.n_options > kMaxOptions)
    return bad(text::cat(plugin.n_options, " options, at most ", kMaxOptions));
  const uint32_t stride = plugin.option_stride;
  if (stride < kFirstStride || stride > kMaxStride || stride % alignof(vbd_option) != 0) {
    return bad(text::cat("a stride of ", stride, " bytes, ABI 1.0 has ", kFirstStride));
  }
  const auto *bytes = reinterpret_cast<const char *>(plugin.options);
  for (uint32_t i = 0; i < plugin.n_options; ++i) {
    vbd_option option{};
    std::memcpy(&option, bytes + std::size_t{i} * stride, std::min<std::size_t>(stride, sizeof option));
    if (!is_name(option.name))
      return bad(text::cat("entry ", i, " has no name of the form [a-z][a-z0-9_]{0,31}"));
    if (find_option(table, option.name) != nullptr) return bad(text::cat(option.name, " stands twice"));
    if (const std::string flaw = flaw_of(option); !flaw.empty())
      return bad(text::cat(option.name, ": ", flaw));
    OptionInfo info = info_of(option);
    if (info.has_default) {
      auto value = check_option(info, info.default_value,
                                text::cat(text::printable(path), ": option table: the default"));
      if (!value) return Error(kBadOptionTable, value.error().message());
      info.default_value = *value;
    }
    table.push_back(std::move(info));
  }
  return table;
}

}  // namespace vbd::plugin
