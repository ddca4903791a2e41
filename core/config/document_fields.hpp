// SPDX-License-Identifier: MIT
// Reading one map of a document field by field. Private to this room. Borrows the node.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/config/yaml.hpp"

namespace vbd::config {

class Fields {
 public:
  enum class Need { required, optional };

  explicit Fields(const Node &map) : map_(map) {}

  [[nodiscard]] const Node *optional(const std::string &key) const { return map_.find(key); }
  [[nodiscard]] Result<const Node *> required(const std::string &key) const;
  /// Required text of at most 4096 bytes.
  [[nodiscard]] Result<std::string> text(const std::string &key) const;
  /// Several texts at once.
  [[nodiscard]] Result<void> read(const std::vector<std::pair<std::string, std::string *>> &targets,
                                  Need need = Need::required) const;
  /// The three that instance.yaml and pointers have in common, checked.
  [[nodiscard]] Result<void> read_identity(std::string &name, std::string &uuid,
                                           std::string &directory) const;

 private:
  const Node &map_;
};

}  // namespace vbd::config
