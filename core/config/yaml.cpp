// SPDX-License-Identifier: MIT
#include "core/config/yaml.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>

#include "core/base/text.hpp"
#include "core/config/plain_yaml.hpp"
#include "core/config/yaml_library.hpp"

namespace vbd::config {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxText = std::size_t{1} << 20;

/// Turns the parser's events into nodes. After the first problem events are ignored: the parser can't be
/// stopped, but what it still does is bounded by the length of the text.
class Handler : public YAML::EventHandler {
 public:
  explicit Handler(const std::string &name) : name_(name) {}

  [[nodiscard]] const std::optional<Error> &problem() const { return problem_; }
  /// A flow list or map that is never closed looks like a key to the library, before it sees the end.
  [[nodiscard]] bool may_be_unclosed() const { return !problem_ || bad_key_; }
  [[nodiscard]] bool has_root() const { return has_root_; }
  [[nodiscard]] Node take() { return std::move(root_); }
  [[nodiscard]] Mark mark_of(const YAML::Mark &mark) const { return {name_, mark.line + 1, mark.column + 1}; }

  void OnDocumentStart(const YAML::Mark &mark) override {
    if (has_root_) refuse(mark, "a second document; only one is allowed");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark &mark, YAML::anchor_t anchor) override {
    if (plain(mark, "?", anchor)) add(node(mark, Node::Kind::null));
  }
  void OnAlias(const YAML::Mark &mark, YAML::anchor_t) override {
    refuse(mark, "aliases (*name) are not allowed");
  }
  void OnScalar(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor,
                const std::string &value) override {
    if (!plain(mark, tag, anchor)) return;
    Node scalar = node(mark, Node::Kind::scalar);
    scalar.quoted = tag == "!";  // the library's way to say so
    scalar.scalar = value;
    add(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Node node;
    std::optional<Node> key;          // waits for its value
    std::set<std::string> seen = {};  // keys so far
  };

  void refuse(const YAML::Mark &mark, std::string_view why) {
    if (!problem_) problem_ = Error{kBadYaml, text::cat(mark_of(mark).str(), ": ", why)};
  }
  bool plain(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor) {
    if (anchor != 0) refuse(mark, "anchors (&name) are not allowed");
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags (!name) are not allowed");
    return !problem_;
  }
  [[nodiscard]] Node node(const YAML::Mark &mark, Node::Kind kind) const {
    Node made;
    made.kind = kind;
    made.mark = mark_of(mark);
    return made;
  }
  void open(const YAML::Mark &mark, const std::string &tag, YAML::anchor_t anchor, Node::Kind kind) {
    if (!plain(mark, tag, anchor)) return;
    if (open_.size() == kMaxDepth) return refuse(mark, text::cat("more than ", kMaxDepth, " levels"));
    if (wants_key()) {
      bad_key_ = true;
      return refuse(mark, "a key must be a word");
    }
    Node made = node(mark, kind);
    made.key = next_key();
    open_.push_back({std::move(made), std::nullopt});
  }
  void close() {
    if (problem_) return;
    Node done = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(done));
  }
  [[nodiscard]] bool wants_key() const {
    return !open_.empty() && open_.back().node.kind == Node::Kind::map && !open_.back().key;
  }
  [[nodiscard]] std::string next_key() const {
    if (open_.empty()) return {};
    const Open &outer = open_.back();
    if (outer.node.kind == Node::Kind::list)
      return text::cat(outer.node.key, "[", outer.node.items.size(), "]");
    const std::string &own = outer.key ? outer.key->scalar : outer.node.key;
    return outer.node.key.empty() ? own : text::cat(outer.node.key, ".", own);
  }
  void add(Node done) {
    if (problem_) return;
    if (open_.empty()) {
      has_root_ = true;
      root_ = std::move(done);
      return;
    }
    if (wants_key()) return add_key(std::move(done));
    if (done.key.empty()) done.key = next_key();
    Open &outer = open_.back();
    if (outer.node.kind == Node::Kind::list) {
      outer.node.items.push_back(std::move(done));
    } else {
      outer.node.entries.push_back({std::move(*outer.key), std::move(done)});
      outer.key.reset();
    }
  }
  void add_key(Node key) {
    const std::string where = key.mark.str();
    if (key.kind != Node::Kind::scalar) {
      problem_ = Error{kBadYaml, where + ": a key must be a word"};
    } else if (!open_.back().seen.insert(key.scalar).second) {
      problem_ =
          Error{kBadYaml, text::cat(where, ": the key '", text::printable(key.scalar), "' is there twice")};
    } else {
      open_.back().key = std::move(key);
    }
  }

  const std::string &name_;
  std::vector<Open> open_;
  Node root_;
  bool has_root_ = false;
  bool bad_key_ = false;
  std::optional<Error> problem_;
};

/// The parser takes byte 4 for the end of the text and replaces what is not UTF-8: both are refused before.
std::optional<Error> check_text(std::string_view text, const std::string &name) {
  if (text.size() > kMaxText) return Error{kBadYaml, text::cat(name, ":1:1: more than 1 MiB of YAML")};
  int line = 1;
  for (std::size_t begin = 0; begin <= text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string row(text.substr(begin, end - begin));
    if (!row.empty() && row.back() == '\r') row.pop_back();
    std::replace(row.begin(), row.end(), '\t', ' ');
    if (!text::is_printable_utf8(row)) {
      const auto control = std::find_if(
          row.begin(), row.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
      const std::ptrdiff_t column = control == row.end() ? 1 : control - row.begin() + 1;
      return Error{kBadYaml, text::cat(Mark{name, line, static_cast<int>(column)}.str(),
                                       ": a control character, or text that is not UTF-8")};
    }
    begin = end + 1;
  }
  return std::nullopt;
}

Result<Node> parse_checked(std::string_view text, const std::string &name) {
  Handler handler(name);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (!handler.problem() && parser.HandleNextDocument(handler)) {
    }
  } catch (const YAML::Exception &e) {
    if (handler.may_be_unclosed()) {
      return Error{kBadYaml, text::cat(handler.mark_of(e.mark).str(), ": ", text::printable(e.msg))};
    }
  } catch (const std::exception &e) {
    return Error{kBadYaml, text::cat(name, ":1:1: ", text::printable(e.what()))};
  }
  if (handler.problem()) return *handler.problem();
  Node root;
  if (handler.has_root()) root = handler.take();
  if (root.kind == Node::Kind::null) {
    root.kind = Node::Kind::map;
    root.mark = {name, 1, 1};
  }
  return root;
}

}  // namespace

std::string Mark::str() const {
  return text::cat(text::printable(file), ":", line, ":", column);
}

const Node *Node::find(std::string_view wanted) const {
  for (const auto &[name, value] : entries) {
    if (name.scalar == wanted) return &value;
  }
  return nullptr;
}

Result<Node> parse_yaml(std::string_view text, const std::string &name) {
  if (auto quick = parse_plain_yaml(text, name)) return *std::move(quick);
  return parse_library_yaml(text, name);
}

Result<Node> parse_library_yaml(std::string_view text, const std::string &name) {
  if (auto problem = check_text(text, name)) return *problem;
  return parse_checked(text, name);
}

}  // namespace vbd::config
