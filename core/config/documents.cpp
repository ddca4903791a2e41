// SPDX-License-Identifier: MIT
#include "core/config/documents.hpp"

#include <algorithm>

#include "core/base/text.hpp"
#include "core/config/document_fields.hpp"

namespace vbd::config {
namespace {

constexpr std::size_t kMaxValue = 4096;

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (dash ? text[i] != '-' : !hex) return false;
  }
  return true;
}

Error bad_logical_id(const Node &node, std::string_view why) {
  return bad_value(node, why, "write '[FD_LOOP, FT_RAW, \"/full/path\"]'");
}

Result<Constant> constant_of(const Node &node, PluginKind kind) {
  auto constant = Constant::parse(node.scalar, kind);
  if (!constant) return constant.error().at(node.mark.str());
  return constant;
}

}  // namespace

Result<const Node *> Fields::required(const std::string &key) const {
  const Node *node = map_.find(key);
  if (node == nullptr) return bad_value(map_, text::cat("the key '", key, "' is missing"));
  return node;
}

Result<std::string> Fields::text(const std::string &key) const {
  VBD_TRY_ASSIGN(const auto node, required(key));
  auto value = as_text(*node);
  if (value && value->size() > kMaxValue)
    return bad_value(*node, text::cat("longer than ", kMaxValue, " bytes"));
  return value;
}

Result<void> Fields::read(const std::vector<std::pair<std::string, std::string *>> &targets,
                          Need need) const {
  for (const auto &[key, target] : targets) {
    if (need == Need::optional && optional(key) == nullptr) continue;
    auto value = text(key);
    if (!value) return value.error();
    *target = *std::move(value);
  }
  return {};
}

Result<void> Fields::read_identity(std::string &name, std::string &uuid, std::string &directory) const {
  if (map_.kind != Node::Kind::map) return bad_value(map_, "expected a map");
  VBD_TRY(read({{"name", &name}, {"uuid", &uuid}, {"directory", &directory}}));
  if (const auto checked = check_instance_name(name); !checked)
    return bad_value(*optional("name"), checked.error().message());
  if (!is_uuid(uuid)) return bad_value(*optional("uuid"), "expected a UUID in lower case");
  if (const auto checked = check_image_path(directory); !checked) {
    return bad_value(*optional("directory"), checked.error().message());
  }
  return {};
}

Result<LogicalId> parse_logical_id(std::string_view text, const Settings &settings) {
  const auto root = parse_yaml(text, "<logical_id>");
  if (!root) return root.error().with_hint("write '[FD_LOOP, FT_RAW, \"/full/path\"]'");
  const bool fits = root->kind == Node::Kind::list && (root->items.size() == 2 || root->items.size() == 3) &&
                    std::all_of(root->items.begin(), root->items.end(),
                                [](const Node &item) { return item.kind == Node::Kind::scalar; });
  if (!fits) return bad_logical_id(*root, "expected [DRIVER, FILETYPE, PATH]");
  auto driver = constant_of(root->items.front(), PluginKind::driver);
  if (!driver) return driver.error();
  auto filetype = root->items.size() == 3 ? constant_of(root->items[1], PluginKind::filetype)
                                          : Constant::parse(settings.default_filetype, PluginKind::filetype);
  if (!filetype) return filetype.error();
  const std::string &path = root->items.back().scalar;
  VBD_TRY(check_image_path(path));
  return LogicalId{*std::move(driver), *std::move(filetype), path};
}

Result<Pointer> parse_pointer(std::string_view text, const std::string &file) {
  VBD_TRY_ASSIGN(const auto root, parse_yaml(text, file));
  VBD_TRY(check_keys(root, {"name", "uuid", "directory"}));
  Pointer pointer;
  VBD_TRY(Fields(root).read_identity(pointer.name, pointer.uuid, pointer.directory));
  return pointer;
}

std::string write_pointer(const Pointer &pointer) {
  return text::cat(
      "# Where an instance of vbdkit lies; vbd cluster verify --rebuild makes this file again.\nname: ",
      yaml_scalar(pointer.name), "\nuuid: ", yaml_scalar(pointer.uuid),
      "\ndirectory: ", yaml_scalar(pointer.directory), "\n");
}

}  // namespace vbd::config
