// SPDX-License-Identifier: MIT
// Devices and images.
#include "cli/report/report.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

const char *state_word(device::Status::State state) {
  switch (state) {
    case device::Status::State::attached:
      return "attached";
    case device::Status::State::broken:
      return "broken";
    case device::Status::State::detached:
      break;
  }
  return "detached";
}

std::string size_text(std::uint64_t bytes) {
  return text::cat(format_size(bytes), " (", bytes, " bytes)");
}

json::Value size_json(const std::optional<std::uint64_t> &size) {
  return size ? json::Value{*size} : json::Value{};
}

void add_attachment(json::Value &value, const device::Attachment &attachment) {
  value.set("device", attachment.node).set("size", size_json(attachment.size));
  value.set("read_only", attachment.read_only);
  value.set("holders", to_json(attachment.holders)).set("facts", to_json(attachment.facts));
}

json::Value references_json(const std::vector<image::ImageInfo::Reference> &references) {
  json::Array list;
  for (const auto &reference : references) {
    list.push_back(
        json::Object{{"role", reference.role}, {"name", reference.name}, {"format", reference.format}});
  }
  return list;
}

/// Facts that have a line of their own, or that say the same as one.
bool is_told(const std::string &key) {
  return key == "virtual_size" || key == "node" || key == "attached" || key == "read_only" ||
         key.starts_with("prop.") || key.starts_with("reference.");
}

void add_facts(std::vector<std::pair<std::string, std::string>> &pairs, const plugin::Facts &facts) {
  for (const auto &[key, value] : facts.all()) {
    if (!is_told(key)) pairs.emplace_back(text::printable(key), fact_text(value));
  }
}

}  // namespace

Outcome attachment(bool json, const LogicalId &id, const device::Attachment &attachment) {
  if (!json) return {attachment.node + "\n", {}};
  json::Value value;
  value.set("schema", "vbdkit.device/1").set("logical_id", to_json(id));
  add_attachment(value, attachment);
  return {{}, std::move(value)};
}

Outcome status(bool json, const LogicalId &id, const device::Status &status) {
  const bool attached = status.state == device::Status::State::attached;
  if (json) {
    json::Value value;
    value.set("schema", "vbdkit.disk/1")
        .set("logical_id", to_json(id))
        .set("state", state_word(status.state));
    value.set("reason", status.reason.empty() ? json::Value{} : json::Value{status.reason});
    if (attached) {
      add_attachment(value, status.attachment);
    } else {
      value.set("device", nullptr).set("size", nullptr).set("read_only", nullptr);
      value.set("holders", json::Array{}).set("facts", json::Object{});
    }
    return {{}, std::move(value)};
  }
  std::vector<std::pair<std::string, std::string>> pairs = {{"state", state_word(status.state)},
                                                            {"reason", status.reason}};
  if (attached) {
    pairs.emplace_back("device", status.attachment.node);
    if (status.attachment.size) pairs.emplace_back("size", size_text(*status.attachment.size));
    pairs.emplace_back("mode", status.attachment.read_only ? "ro" : "rw");
    pairs.emplace_back("holders", text::join(status.attachment.holders, ", "));
    add_facts(pairs, status.attachment.facts);
  }
  return {pairs_text(pairs), {}};
}

Outcome image(bool json, const Constant &filetype, const std::string &path, const image::ImageInfo &info) {
  if (json) {
    json::Value value;
    value.set("schema", "vbdkit.image/1").set("path", path).set("filetype", filetype.str());
    value.set("virtual_size", info.virtual_size)
        .set("file_size", info.file_size)
        .set("allocated", info.allocated);
    value.set("properties", to_json(info.properties)).set("references", references_json(info.references));
    value.set("facts", to_json(info.facts));
    return {{}, std::move(value)};
  }
  std::vector<std::pair<std::string, std::string>> pairs = {{"path", path},
                                                            {"filetype", filetype.str()},
                                                            {"virtual size", size_text(info.virtual_size)},
                                                            {"file size", size_text(info.file_size)},
                                                            {"allocated", size_text(info.allocated)}};
  for (const auto &reference : info.references) {
    pairs.emplace_back(text::cat(text::printable(reference.role), " file"),
                       text::cat(reference.name, " (", reference.format, ")"));
  }
  add_facts(pairs, info.facts);
  return {pairs_text(pairs), {}};
}

}  // namespace vbd::cli::report
