// SPDX-License-Identifier: MIT
#include "core/model/logical_id.hpp"

#include <algorithm>
#include <cstdio>

#include "core/base/text.hpp"

namespace vbd {
namespace {

constexpr std::size_t kMaxConstant = 40;
constexpr std::size_t kMaxPath = 4095;  // PATH_MAX of linux/limits.h counts the final NUL

const char *prefix_of(PluginKind kind) {
  return kind == PluginKind::driver ? "FD_" : "FT_";
}
const char *word_of(PluginKind kind) {
  return kind == PluginKind::driver ? "driver" : "filetype";
}

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// What stands behind the prefix: words of capitals and digits joined by single underscores.
bool is_constant_tail(std::string_view tail) {
  if (tail.empty() || !is_upper(tail.front())) return false;
  char before = 'A';
  for (const char c : tail) {
    if (!is_upper(c) && !is_digit(c) && c != '_') return false;
    if (c == '_' && before == '_') return false;
    before = c;
  }
  return before != '_';
}

/// loop, my_driver and my-driver are short forms; file names have the dash.
std::string long_form(std::string_view text, PluginKind kind) {
  std::string name = text::upper(text);
  std::replace(name.begin(), name.end(), '-', '_');
  return prefix_of(kind) + name;
}

Error bad_constant(std::string_view text, PluginKind kind, std::string_view why) {
  return {
      kBadConstant, text::cat(word_of(kind), " '", text::printable(text), "': ", why),
      text::cat("write ", prefix_of(kind), "NAME or, short and in lower case, name; see vbd plugin list")};
}

std::string byte_text(char byte) {
  char buffer[8];
  std::snprintf(buffer, sizeof buffer, "0x%02x", static_cast<unsigned char>(byte));
  return buffer;
}

Error bad_path(std::string_view path, std::string_view why) {
  return {kBadPath, text::cat("path '", text::printable(path), "': ", why),
          "use an absolute path of printable characters without . or .. in it"};
}

}  // namespace

Result<Constant> Constant::parse(std::string_view text, PluginKind kind) {
  const PluginKind other = kind == PluginKind::driver ? PluginKind::filetype : PluginKind::driver;
  if (text.empty()) return bad_constant(text, kind, "empty");
  std::string full(text);
  if (text.starts_with(prefix_of(other))) {
    return bad_constant(text, kind, text::cat("is the constant of a ", word_of(other)));
  }
  if (!text.starts_with(prefix_of(kind))) {
    if (std::any_of(text.begin(), text.end(), is_upper)) {
      return bad_constant(text, kind, text::cat("does not begin with ", prefix_of(kind)));
    }
    full = long_form(text, kind);
  }
  if (full.size() > kMaxConstant)
    return bad_constant(text, kind, text::cat("longer than ", kMaxConstant, " bytes"));
  if (!is_constant_tail(std::string_view(full).substr(3))) {
    return bad_constant(text, kind, "only letters, digits and single underscores, a letter first");
  }
  return Constant(std::move(full));
}

std::string Constant::short_name() const {
  return text::lower(std::string_view(text_).substr(3));
}

std::string Constant::file_name() const {
  std::string name = text::lower(text_) + ".so";
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

Result<void> check_image_path(std::string_view path) {
  if (path.empty() || path.front() != '/') return bad_path(path, "not absolute");
  if (path.size() > kMaxPath)
    return bad_path(path.substr(0, 60), text::cat("longer than ", kMaxPath, " bytes"));
  for (std::size_t i = 0; i < path.size(); ++i) {
    const auto byte = static_cast<unsigned char>(path[i]);
    if (byte < 0x20 || byte == 0x7f) {
      return bad_path(path, text::cat("control character ", byte_text(path[i]), " at byte ", i));
    }
  }
  // Neither instance.yaml nor JSON could carry such a name without changing it.
  if (!text::is_printable_utf8(path)) return bad_path(path, "not UTF-8, or a control character in it");
  for (const std::string &part : text::split(path.substr(1), '/')) {
    if (part.empty()) return bad_path(path, "a slash too many");
    if (part == "." || part == "..") return bad_path(path, text::cat("'", part, "' in it"));
  }
  return {};
}

std::string LogicalId::str() const {
  std::string quoted;
  for (const char c : path) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return text::cat("[", driver.str(), ", ", filetype.str(), ", \"", quoted, "\"]");
}

}  // namespace vbd
