// SPDX-License-Identifier: MIT
// instance.yaml: docs/instance-yaml.md is its description, key by key.
#include <algorithm>
#include <set>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/config/document_fields.hpp"
#include "core/config/documents.hpp"
#include "core/config/lease_yaml.hpp"
#include "core/config/nic_yaml.hpp"

namespace vbd::config {
namespace {

constexpr std::size_t kMaxOptions = 64;    // of one map
constexpr std::size_t kMaxFiles = 4096;    // of one operation
constexpr std::size_t kMaxFileName = 255;  // NAME_MAX of linux/limits.h

using TextMap = std::map<std::string, std::string>;

bool is_file_name(const std::string &name) {
  return !name.empty() && name.size() <= kMaxFileName && name != "." && name != ".." &&
         name.find('/') == std::string::npos && text::is_printable_utf8(name);
}

bool is_vdev(const std::string &name) {
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && name.size() <= 32 && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

Result<void> read_map(const Fields &fields, const std::string &key, TextMap &out) {
  const Node *node = fields.optional(key);
  if (node == nullptr) return {};
  auto map = as_text_map(*node);
  if (!map) return map.error();
  if (map->size() > kMaxOptions) return bad_value(*node, text::cat("more than ", kMaxOptions, " entries"));
  out = *std::move(map);
  return {};
}

Result<Constant> read_constant(const Fields &fields, const std::string &key, PluginKind kind) {
  VBD_TRY_ASSIGN(const auto value, fields.text(key));
  auto constant = Constant::parse(value, kind);
  if (!constant || constant->str() != value) {
    return bad_value(*fields.optional(key), text::cat("'", text::printable(value), "' is no constant of a ",
                                                      kind == PluginKind::driver ? "driver" : "filetype"));
  }
  return constant;
}

Result<std::uint64_t> read_disk_size(const Fields &fields) {
  VBD_TRY_ASSIGN(const auto node, fields.required("size"));
  const auto size = as_u64(*node);
  if (!size) return size;
  if (*size < kSectorSize || *size > kMaxImageSize || *size % kSectorSize != 0) {
    return bad_value(*node,
                     text::cat("expected a multiple of 512 in 512..", kMaxImageSize, ", found ", *size));
  }
  return size;
}

Result<void> read_disk_names(const Fields &fields, DiskRecord &disk) {
  auto file = fields.text("file");
  if (!file) return file.error();
  if (!is_file_name(*file) || file->front() == '.') {
    return bad_value(*fields.optional("file"), "expected the name of a file in the instance's directory");
  }
  auto vdev = fields.text("vdev");
  if (!vdev) return vdev.error();
  if (!is_vdev(*vdev)) return bad_value(*fields.optional("vdev"), "expected a name like sda");
  disk.file = *std::move(file);
  disk.vdev = *std::move(vdev);
  return {};
}

Result<void> read_disk_mode(const Fields &fields, DiskRecord &disk) {
  const auto mode = fields.text("mode");
  if (!mode) return mode.error();
  if (*mode != "rw" && *mode != "ro") return bad_value(*fields.optional("mode"), "expected rw or ro");
  disk.mode = *mode == "rw" ? DiskMode::rw : DiskMode::ro;
  if (const Node *created = fields.optional("created")) {
    VBD_TRY_ASSIGN(const auto value, as_bool(*created));
    disk.created = value;
  }
  return {};
}

Result<DiskRecord> read_disk(const Node &node) {
  static const std::vector<std::string> kKnown = {
      "file", "driver", "filetype", "size", "vdev", "mode", "created", "driver_options", "filetype_options"};
  VBD_TRY(check_keys(node, kKnown));
  const Fields fields(node);
  auto driver = read_constant(fields, "driver", PluginKind::driver);
  if (!driver) return driver.error();
  auto filetype = read_constant(fields, "filetype", PluginKind::filetype);
  if (!filetype) return filetype.error();
  VBD_TRY_ASSIGN(const auto size, read_disk_size(fields));
  DiskRecord disk{*std::move(driver), *std::move(filetype), {}, size, {}, DiskMode::rw, true, {}, {}};
  for (const auto &done : {read_disk_names(fields, disk), read_disk_mode(fields, disk),
                           read_map(fields, "driver_options", disk.driver_options),
                           read_map(fields, "filetype_options", disk.filetype_options)}) {
    if (!done) return done.error();
  }
  return disk;
}

Result<void> read_disks(const Fields &fields, InstanceRecord &record) {
  const Node *list = fields.optional("disks");
  if (list == nullptr) return {};
  if (list->kind != Node::Kind::list) return bad_value(*list, "expected a list of disks");
  if (list->items.size() > kMaxDisks) return bad_value(*list, text::cat("more than ", kMaxDisks, " disks"));
  std::set<std::string> files, vdevs;
  for (const Node &item : list->items) {
    auto disk = read_disk(item);
    if (!disk) return disk.error();
    if (!files.insert(disk->file).second)
      return bad_value(item, text::cat("a second disk in the file ", disk->file));
    if (!vdevs.insert(disk->vdev).second)
      return bad_value(item, text::cat("a second disk with vdev ", disk->vdev));
    record.disks.push_back(*std::move(disk));
  }
  return {};
}

Result<void> read_operation(const Fields &fields, InstanceRecord &record) {
  const Node *node = fields.optional("operation");
  if (node == nullptr) return {};
  if (auto known =
          check_keys(*node, {"verb", "started", "files", "made_directory", "details", "node", "boot_id"});
      !known) {
    return known;
  }
  const Fields inner(*node);
  OperationRecord operation;
  VBD_TRY(inner.read({{"verb", &operation.verb}, {"started", &operation.started}}));
  if (const Node *files = inner.optional("files")) {
    auto names = as_text_list(*files);
    if (!names) return names.error();
    if (names->size() > kMaxFiles || !std::all_of(names->begin(), names->end(), is_file_name)) {
      return bad_value(*files, text::cat("expected at most ", kMaxFiles, " names of files in the directory"));
    }
    operation.files = *std::move(names);
  }
  if (const Node *made = inner.optional("made_directory")) {
    VBD_TRY_ASSIGN(const auto value, as_bool(*made));
    operation.made_directory = value;
  }
  VBD_TRY(read_map(inner, "details", operation.details));
  const auto by =
      inner.read({{"node", &operation.node}, {"boot_id", &operation.boot_id}}, Fields::Need::optional);
  if (!by) return by;
  record.operation = std::move(operation);
  return {};
}

Result<void> read_plain(const Fields &fields, InstanceRecord &record) {
  VBD_TRY(fields.read({{"node", &record.node}, {"created", &record.created}}));
  std::string wanted = "down";
  VBD_TRY(fields.read({{"secondary", &record.secondary}, {"os", &record.os}, {"wanted", &wanted}},
                      Fields::Need::optional));
  if (wanted != "up" && wanted != "down") return bad_value(*fields.optional("wanted"), "expected up or down");
  record.wanted_up = wanted == "up";
  return {};
}

Error newer(const Node &schema, std::uint64_t number) {
  return {kNewerSchema,
          text::cat(schema.mark.str(), ": schema ", number, " is newer than this vbd, which knows ",
                    kInstanceSchema),
          "use a newer vbd for this instance"};
}

Result<InstanceHead> read_head(const Node &root) {
  const Fields fields(root);
  const auto schema = fields.required("schema");
  if (!schema) return schema.error();
  const auto number = as_u64(**schema);
  if (!number) return number.error();
  if (*number == 0 || *number > UINT32_MAX) return bad_value(**schema, "expected a schema number from 1");
  InstanceHead head;
  head.schema = static_cast<std::uint32_t>(*number);
  VBD_TRY(fields.read_identity(head.name, head.uuid, head.directory));
  return head;
}

std::string lines_of(std::string_view key, const TextMap &map, std::string_view indent) {
  if (map.empty()) return {};
  std::string out = text::cat(indent, key, ":\n");
  for (const auto &[name, value] : map)
    out += text::cat(indent, "  ", yaml_scalar(name), ": ", yaml_scalar(value), "\n");
  return out;
}

std::string lines_of(const DiskRecord &disk) {
  return text::cat("  - file: ", yaml_scalar(disk.file), "\n    driver: ", disk.driver.str(),
                   "\n    filetype: ", disk.filetype.str(), "\n    size: ", disk.size,
                   "\n    vdev: ", yaml_scalar(disk.vdev),
                   "\n    mode: ", disk.mode == DiskMode::rw ? "rw" : "ro",
                   "\n    created: ", disk.created ? "true" : "false", "\n",
                   lines_of("driver_options", disk.driver_options, "    "),
                   lines_of("filetype_options", disk.filetype_options, "    "));
}

std::string lines_of(const OperationRecord &operation) {
  std::vector<std::string> files;
  for (const std::string &file : operation.files) files.push_back(yaml_scalar(file));
  return text::cat(
      "operation:\n  verb: ", yaml_scalar(operation.verb), "\n  started: ", yaml_scalar(operation.started),
      "\n  files: [", text::join(files, ", "), "]\n",
      operation.made_directory ? "  made_directory: true\n" : "",
      lines_of("details", operation.details, "  "),
      operation.node.empty() ? "" : text::cat("  node: ", yaml_scalar(operation.node), "\n"),
      operation.boot_id.empty() ? "" : text::cat("  boot_id: ", yaml_scalar(operation.boot_id), "\n"));
}

}  // namespace

Result<InstanceHead> parse_instance_head(std::string_view text, const std::string &file) {
  VBD_TRY_ASSIGN(const auto root, parse_yaml(text, file));
  return read_head(root);
}

Result<InstanceRecord> parse_instance(std::string_view text, const std::string &file) {
  static const std::vector<std::string> kKnown = {
      "wanted",    "schema", "uuid",      "name",    "directory",  "node",
      "secondary", "os",     "created",   "backend", "hypervisor", "os_parameters",
      "disks",     "nics",   "operation", "lease",   "claim"};
  VBD_TRY_ASSIGN(const auto root, parse_yaml(text, file));
  VBD_TRY_ASSIGN(auto head, read_head(root));
  if (head.schema > kInstanceSchema) return newer(*root.find("schema"), head.schema);
  VBD_TRY(check_keys(root, kKnown));
  InstanceRecord record;
  record.schema = head.schema;
  record.uuid = std::move(head.uuid);
  record.name = std::move(head.name);
  record.directory = std::move(head.directory);
  const Fields fields(root);
  for (const auto &done :
       {read_plain(fields, record), read_map(fields, "backend", record.backend),
        read_map(fields, "hypervisor", record.hypervisor),
        read_map(fields, "os_parameters", record.os_parameters), read_disks(fields, record),
        read_nics(fields, record.nics), read_operation(fields, record), read_lease(fields, record.lease)}) {
    if (!done) return done.error();
  }
  return record;
}

std::string write_instance(const InstanceRecord &record) {
  std::string out = text::cat(
      "# An instance of vbdkit; the disks below are files in this directory. Use vbd to change it.\n",
      "schema: ", record.schema, "\nuuid: ", yaml_scalar(record.uuid), "\nname: ", yaml_scalar(record.name),
      "\ndirectory: ", yaml_scalar(record.directory), "\nnode: ", yaml_scalar(record.node), "\n");
  if (!record.secondary.empty()) out += text::cat("secondary: ", yaml_scalar(record.secondary), "\n");
  if (!record.os.empty()) out += text::cat("os: ", yaml_scalar(record.os), "\n");
  if (record.wanted_up) out += "wanted: up\n";
  out += text::cat("created: ", yaml_scalar(record.created), "\n", lines_of("backend", record.backend, ""),
                   lines_of("hypervisor", record.hypervisor, ""),
                   lines_of("os_parameters", record.os_parameters, ""));
  out += record.disks.empty() ? "disks: []\n" : "disks:\n";
  for (const DiskRecord &disk : record.disks) out += lines_of(disk);
  out += lines_of(record.nics);
  if (record.operation) out += lines_of(*record.operation);
  if (const std::string lease = lines_of(record.lease, "  "); !lease.empty()) out += "lease:\n" + lease;
  return out;
}

}  // namespace vbd::config
