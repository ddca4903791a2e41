// SPDX-License-Identifier: MIT
// Typed readers of nodes, and the way back from text to a scalar.
#include <algorithm>
#include <array>
#include <charconv>

#include "core/base/text.hpp"
#include "core/config/yaml.hpp"

namespace vbd::config {
namespace {

std::string found(const Node &node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::map:
      return "a map";
    case Node::Kind::scalar:
      break;
  }
  return text::cat("'", text::printable(std::string_view(node.scalar).substr(0, 80)), "'");
}

Error expected(const Node &node, std::string_view what) {
  return bad_value(node, text::cat("expected ", what, ", found ", found(node)));
}

bool is_word(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto inner = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '/' || c == '.' || c == '-' || c == '+' || c == '@';
  };
  return !text.empty() && (letter(text.front()) || text.front() == '/') &&
         std::all_of(text.begin(), text.end(), inner);
}

/// Words that some reader of YAML 1.1 or 1.2 takes for something else than text.
bool is_reserved(std::string_view text) {
  static constexpr std::array<std::string_view, 9> kReserved = {"null", "true", "false", "yes", "no",
                                                                "on",   "off",  "y",     "n"};
  const std::string low = text::lower(text);
  return std::find(kReserved.begin(), kReserved.end(), low) != kReserved.end();
}

/// One code point of well-formed UTF-8, or its length 0.
struct Point {
  std::uint32_t code = 0;
  std::size_t length = 0;
};
Point decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return {byte(0), 1};
  const std::size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < length) return {};
  std::uint32_t code = byte(0) & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  static constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
  return {code, length};
}

/// What our own reader refuses, by the same rule, and what no YAML holds.
bool needs_escape(std::uint32_t code, std::string_view sequence) {
  return !text::is_printable_utf8(sequence) || code == 0xfffe || code == 0xffff;
}

std::string escape(std::uint32_t code) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = code < 0x100 ? "\\x" : "\\u";
  for (int shift = code < 0x100 ? 4 : 12; shift >= 0; shift -= 4) out += kHex[code >> shift & 0xf];
  return out;
}

}  // namespace

Error bad_value(const Node &node, std::string_view why, std::string hint) {
  const std::string key = node.key.empty() ? "" : text::printable(node.key) + ": ";
  return {kBadValue, text::cat(node.mark.str(), ": ", key, why), std::move(hint)};
}

Result<std::string> as_text(const Node &node) {
  if (node.kind != Node::Kind::scalar) return expected(node, "text");
  return node.scalar;
}

Result<std::uint64_t> as_u64(const Node &node) {
  std::uint64_t number = 0;
  const char *end = node.scalar.data() + node.scalar.size();
  const auto [stop, error] = std::from_chars(node.scalar.data(), end, number);
  if (node.kind != Node::Kind::scalar || error != std::errc{} || stop != end)
    return expected(node, "a whole number");
  return number;
}

Result<bool> as_bool(const Node &node) {
  const std::string word = node.kind == Node::Kind::scalar ? text::lower(node.scalar) : "";
  if (word == "true" || word == "yes" || word == "on") return true;
  if (word == "false" || word == "no" || word == "off") return false;
  return expected(node, "true or false");
}

Result<std::vector<std::string>> as_text_list(const Node &node) {
  if (node.kind != Node::Kind::list) return expected(node, "a list");
  std::vector<std::string> list;
  for (const Node &item : node.items) {
    auto value = as_text(item);
    if (!value) return value.error();
    list.push_back(*std::move(value));
  }
  return list;
}

Result<std::map<std::string, std::string>> as_text_map(const Node &node) {
  if (node.kind != Node::Kind::map) return expected(node, "a map");
  std::map<std::string, std::string> map;
  for (const auto &[key, item] : node.entries) {
    auto value = as_text(item);
    if (!value) return value.error();
    map.emplace(key.scalar, *std::move(value));
  }
  return map;
}

Result<void> check_keys(const Node &map, const std::vector<std::string> &known) {
  if (map.kind != Node::Kind::map) return expected(map, "a map");
  for (const auto &[key, value] : map.entries) {
    if (std::find(known.begin(), known.end(), key.scalar) != known.end()) continue;
    const std::string near = text::did_you_mean(key.scalar, known);
    const std::string inside = map.key.empty() ? "" : text::cat(" in ", text::printable(map.key));
    std::string message =
        text::cat(key.mark.str(), ": unknown key '", text::printable(key.scalar), "'", inside);
    if (!near.empty()) message += text::cat("; the nearest is '", near, "'");
    return Error{kUnknownKey, std::move(message), text::cat("known keys: ", text::join(known, ", "))};
  }
  return {};
}

std::string yaml_scalar(std::string_view text) {
  if (is_word(text) && !is_reserved(text)) return std::string(text);
  std::string out = "\"";
  while (!text.empty()) {
    const Point point = decode(text);
    const std::size_t length = std::max<std::size_t>(point.length, 1);
    if (point.length == 0) {
      out += "\xef\xbf\xbd";  // U+FFFD: YAML has no way to write a byte that is not UTF-8
    } else if (point.code == '"' || point.code == '\\') {
      out += '\\';
      out += static_cast<char>(point.code);
    } else {
      const std::string_view sequence = text.substr(0, length);
      out += needs_escape(point.code, sequence) ? escape(point.code) : std::string(sequence);
    }
    text.remove_prefix(length);
  }
  return out + '"';
}

}  // namespace vbd::config
