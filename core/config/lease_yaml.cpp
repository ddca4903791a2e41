// SPDX-License-Identifier: MIT
// Leases in YAML: in instance.yaml, and the file for images that no instance lists. docs/lease.md describes
// both.
#include "core/config/lease_yaml.hpp"

#include "core/base/text.hpp"
#include "core/config/documents.hpp"

namespace vbd::config {
namespace {

constexpr std::uint64_t kLeaseSchema = 1;
constexpr std::size_t kMaxImages = 4096;
constexpr std::size_t kMaxImageName = 255;  // NAME_MAX of linux/limits.h

/// Who has it: all four or none.
Result<void> read_holder(const Node &node, Lease &lease) {
  const Fields fields(node);
  return fields.read(
      {{"node", &lease.node}, {"boot_id", &lease.boot_id}, {"holder", &lease.holder}, {"time", &lease.time}});
}

Result<Lease> read_one(const Node &node) {
  static const std::vector<std::string> kKnown = {"node", "boot_id", "holder", "time", "generation"};
  VBD_TRY(check_keys(node, kKnown));
  Lease lease;
  VBD_TRY_ASSIGN(const auto number, Fields(node).required("generation"));
  VBD_TRY_ASSIGN(const auto generation, as_u64(*number));
  lease.generation = generation;
  if (node.entries.size() == 1) return lease;
  VBD_TRY(read_holder(node, lease));
  if (lease.node.empty()) return bad_value(*node.find("node"), "expected the name of a node");
  return lease;
}

Result<void> read_images(const Node &images, Leases &out) {
  if (images.kind != Node::Kind::map) return bad_value(images, "expected a map of file names");
  if (images.entries.size() > kMaxImages)
    return bad_value(images, text::cat("more than ", kMaxImages, " images"));
  for (const Entry &entry : images.entries) {
    const std::string &name = entry.key.scalar;
    if (name.empty() || name.size() > kMaxImageName || name.find('/') != std::string::npos)
      return bad_value(entry.key, "expected the name of a file in this directory");
    auto lease = read_one(entry.value);
    if (!lease) return lease.error();
    out[name] = *std::move(lease);
  }
  return {};
}

}  // namespace

Result<void> read_lease(const Fields &fields, Lease &out) {
  const Node *lease = fields.optional("lease");
  const Node *claim = fields.optional("claim");
  if (lease != nullptr && claim != nullptr)
    return bad_value(*claim, "stands beside 'lease', which replaced it");
  if (lease != nullptr) {
    auto read = read_one(*lease);
    if (!read) return read.error();
    out = *std::move(read);
  }
  if (claim == nullptr) return {};
  VBD_TRY(check_keys(*claim, {"node", "boot_id", "holder", "time"}));
  return read_holder(*claim, out);
}

std::string lines_of(const Lease &lease, std::string_view indent) {
  if (!lease.held() && lease.generation == 0) return {};
  std::string out;
  if (lease.held()) {
    out = text::cat(indent, "node: ", yaml_scalar(lease.node), "\n", indent,
                    "boot_id: ", yaml_scalar(lease.boot_id), "\n", indent,
                    "holder: ", yaml_scalar(lease.holder), "\n", indent, "time: ", yaml_scalar(lease.time),
                    "\n");
  }
  return out + text::cat(indent, "generation: ", lease.generation, "\n");
}

Result<Leases> parse_leases(std::string_view text, const std::string &file) {
  VBD_TRY_ASSIGN(const auto root, parse_yaml(text, file));
  if (root.kind != Node::Kind::map) return bad_value(root, "expected a map");
  const Fields fields(root);
  const auto schema = fields.required("schema");
  if (!schema) return schema.error();
  VBD_TRY_ASSIGN(const auto number, as_u64(**schema));
  if (number > kLeaseSchema) {
    return Error(kNewerSchema,
                 text::cat((*schema)->mark.str(), ": schema ", number,
                           " is newer than this vbd, which knows ", kLeaseSchema),
                 "use a newer vbd for the images in this directory");
  }
  VBD_TRY(check_keys(root, {"schema", "images"}));
  Leases leases;
  const Node *images = fields.optional("images");
  if (images == nullptr) return leases;
  VBD_TRY(read_images(*images, leases));
  return leases;
}

std::string write_leases(const Leases &leases) {
  std::string out = text::cat(
      "# Who may write images in this directory that no instance lists. 'vbd lease' shows and "
      "breaks.\nschema: ",
      kLeaseSchema, "\nimages:\n");
  for (const auto &[name, lease] : leases)
    out += text::cat("  ", yaml_scalar(name), ":\n", lines_of(lease, "    "));
  return out;
}

}  // namespace vbd::config
