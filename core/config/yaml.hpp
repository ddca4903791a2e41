// SPDX-License-Identifier: MIT
// Strict YAML: one document, no aliases, anchors or tags, no duplicate keys, at most 16 levels, every node
// with its position. The only place that sees yaml-cpp (its event parser), which is slow: see plain_yaml.hpp.
// Types come from the reader's schema, not from YAML: a scalar is text. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"

namespace vbd::config {

inline constexpr ErrorKind kBadYaml{"config.syntax", Exit::usage};
inline constexpr ErrorKind kUnknownKey{"config.unknown_key", Exit::usage};
inline constexpr ErrorKind kBadValue{"config.value", Exit::usage};
inline constexpr ErrorKind kConfigNotFound{"config.not_found", Exit::not_found};

struct Mark {
  std::string file;          ///< or "<argument>" and the like
  int line = 0, column = 0;  ///< from 1
  /// "/etc/vbdkit/vbdkit.yaml:3:5"
  [[nodiscard]] std::string str() const;
};

struct Entry;

struct Node {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  Mark mark;
  bool quoted = false;
  std::string key;  ///< where it stands in the document, for messages: "plugins.FD_LOOP", "disks[0].size"
  std::string scalar;
  std::vector<Node> items;     // list
  std::vector<Entry> entries;  // map, in order; keys are scalars

  /// The value of a key, or nullptr. Only of a map.
  [[nodiscard]] const Node *find(std::string_view key) const;
};

/// Not a std::pair: clang 14 needs that complete within Node.
struct Entry {
  Node key, value;
};

/// `name` is for positions. An empty document is an empty map. At most 1 MiB of printable UTF-8.
[[nodiscard]] Result<Node> parse_yaml(std::string_view text, const std::string &name);

/// "FILE:LINE:COL: KEY: why", of kind kBadValue.
[[nodiscard]] Error bad_value(const Node &node, std::string_view why, std::string hint = {});

// Typed readers; errors are kBadValue "FILE:LINE:COL: KEY: expected ..., found ...".
[[nodiscard]] Result<std::string> as_text(const Node &node);
[[nodiscard]] Result<std::uint64_t> as_u64(const Node &node);
[[nodiscard]] Result<bool> as_bool(const Node &node);  ///< true false yes no on off
[[nodiscard]] Result<std::vector<std::string>> as_text_list(const Node &node);
/// A scalar for each key.
[[nodiscard]] Result<std::map<std::string, std::string>> as_text_map(const Node &node);
/// Refuses anything but a map, and keys not in `known` with position and the nearest known key.
[[nodiscard]] Result<void> check_keys(const Node &map, const std::vector<std::string> &known);

/// Emission: a scalar that any YAML 1.1/1.2 reader takes as this text: plain where that is unambiguous, else
/// double-quoted with escapes.
[[nodiscard]] std::string yaml_scalar(std::string_view text);

}  // namespace vbd::config
