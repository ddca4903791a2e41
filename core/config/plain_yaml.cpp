// SPDX-License-Identifier: MIT
#include "core/config/plain_yaml.hpp"

#include <algorithm>
#include <array>

#include "core/base/text.hpp"

namespace vbd::config {
namespace {

constexpr std::size_t kMaxPlainText = 65536;
constexpr unsigned kMaxPlainDepth = 8;
constexpr std::size_t kMaxPlainKey = 1024;  // longer, the library takes it for a text of its own

bool is_word_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' || c == '_';
}
bool is_word(char c) {
  return is_word_start(c) || c == '.' || c == '-' || c == '+' || c == '@' || c == '=';
}

/// A colon is part of a word unless it ends it: then it makes a key of it.
bool is_plain(std::string_view text) {
  static constexpr std::array<std::string_view, 3> kNulls{"null", "Null", "NULL"};
  if (text.empty() || !is_word_start(text.front()) || text.back() == ':') return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return is_word(c) || c == ':'; }) &&
         std::find(kNulls.begin(), kNulls.end(), text) == kNulls.end();
}

/// Without escapes and without characters beyond ASCII.
bool is_quoted(std::string_view text) {
  return text.size() >= 2 && text.front() == '"' && text.back() == '"' &&
         std::all_of(text.begin() + 1, text.end() - 1,
                     [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
}

struct Line {
  int number = 0;
  std::size_t indent = 0;
  std::string_view rest;  ///< without the indent
};

class Reader {
 public:
  Reader(std::string_view text, const std::string &name) : text_(text), name_(name) { next(); }

  std::optional<Node> read() {
    if (done_) return {};
    Node root = node(line_, Node::Kind::map, {});
    if (line_.indent != 0 || !read_map(root, 0, 0) || !done_ || failed_) return {};
    return root;
  }

 private:
  void next() {
    for (;;) {
      if (at_ >= text_.size()) {
        done_ = true;
        return;
      }
      const std::size_t end = text_.find('\n', at_);
      if (end == std::string_view::npos) return fail();  // every line that we write ends
      const std::string_view row = text_.substr(at_, end - at_);
      at_ = end + 1;
      ++number_;
      if (row.starts_with('#') && is_printable(row)) continue;
      const std::size_t indent = row.find_first_not_of(' ');
      if (indent == std::string_view::npos) return fail();
      line_ = {number_, indent, row.substr(indent)};
      return;
    }
  }
  static bool is_printable(std::string_view row) {
    return std::all_of(row.begin(), row.end(), [](char c) { return c >= ' ' && c <= '~'; });
  }
  void fail() {
    failed_ = true;
    done_ = true;
  }

  [[nodiscard]] Node node(const Line &line, Node::Kind kind, std::string key) const {
    Node made;
    made.kind = kind;
    made.mark = {name_, line.number, static_cast<int>(line.indent) + 1};
    made.key = std::move(key);
    return made;
  }

  /// The part of a line that begins with `value`, as if it were a line of its own.
  static Line from(const Line &line, std::string_view value) {
    return {line.number, line.indent + (line.rest.size() - value.size()), value};
  }

  bool read_scalar(Node &out, const Line &line) {
    out.mark.line = line.number;
    out.mark.column = static_cast<int>(line.indent) + 1;
    out.quoted = is_quoted(line.rest);
    if (!out.quoted && !is_plain(line.rest)) return false;
    out.kind = Node::Kind::scalar;
    out.scalar = out.quoted ? line.rest.substr(1, line.rest.size() - 2) : line.rest;
    return true;
  }

  /// What stands below a key or a dash: deeper than `indent`.
  bool read_block(Node &out, std::size_t indent, unsigned depth) {
    if (done_ || line_.indent <= indent || depth == kMaxPlainDepth) return false;
    const bool list = line_.rest.starts_with("- ");
    out = node(line_, list ? Node::Kind::list : Node::Kind::map, std::move(out.key));
    return list ? read_list(out, line_.indent, depth) : read_map(out, line_.indent, depth);
  }

  bool read_map(Node &map, std::size_t indent, unsigned depth) {
    while (!done_ && line_.indent == indent && !line_.rest.starts_with('-')) {
      const std::size_t colon = line_.rest.find(':');
      if (colon == std::string_view::npos) return false;
      const std::string_view name = line_.rest.substr(0, colon), rest = line_.rest.substr(colon + 1);
      if (name.size() > kMaxPlainKey || !is_plain(name) || map.find(name) != nullptr) return false;
      Entry entry{node(line_, Node::Kind::scalar, {}), {}};
      entry.key.scalar = name;
      entry.value =
          node(line_, Node::Kind::null, map.key.empty() ? std::string(name) : text::cat(map.key, ".", name));
      if (rest.empty()) {
        next();
        if (!read_block(entry.value, indent, depth + 1)) return false;
      } else {
        if (rest.front() != ' ' || !read_scalar(entry.value, from(line_, rest.substr(1)))) return false;
        next();
      }
      map.entries.push_back(std::move(entry));
    }
    return !failed_ && (done_ || line_.indent < indent);
  }

  bool read_list(Node &list, std::size_t indent, unsigned depth) {
    while (!done_ && line_.indent == indent && line_.rest.starts_with("- ")) {
      line_ = from(line_, line_.rest.substr(2));
      if (line_.rest.starts_with(' ') || line_.rest.starts_with('-')) return false;
      Node item = node(line_, Node::Kind::null, text::cat(list.key, "[", list.items.size(), "]"));
      if (line_.rest.ends_with(':') || line_.rest.find(": ") != std::string_view::npos) {
        item.kind = Node::Kind::map;
        if (depth + 1 == kMaxPlainDepth || !read_map(item, line_.indent, depth + 1)) return false;
      } else {
        if (!read_scalar(item, line_)) return false;
        next();
      }
      list.items.push_back(std::move(item));
    }
    return !failed_ && (done_ || line_.indent < indent);
  }

  std::string_view text_;
  const std::string &name_;
  std::size_t at_ = 0;
  int number_ = 0;
  Line line_;
  bool done_ = false, failed_ = false;
};

}  // namespace

std::optional<Node> parse_plain_yaml(std::string_view text, const std::string &name) {
  if (text.size() > kMaxPlainText) return {};
  return Reader(text, name).read();
}

}  // namespace vbd::config
