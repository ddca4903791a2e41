// SPDX-License-Identifier: MIT
#include "manager/instance/witness.hpp"

#include "core/base/text.hpp"
#include "core/json/json.hpp"
#include "core/sys/components.hpp"
#include "core/sys/host.hpp"
#include "core/sys/trusted.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr const char *kWitnessSchema = "vbdkit.operation/1";
constexpr std::size_t kWitnessLimit = 1u << 20;

std::string witness_directory(const config::Settings &settings) {
  return cat(settings.state_dir, "/operations");
}

std::string witness_name(const std::string &uuid) {
  return cat(uuid, ".json");
}

std::string text_at(const json::Value &value, const char *key) {
  const json::Value *found = value.find(key);
  return found != nullptr && found->as_string() != nullptr ? *found->as_string() : std::string();
}

std::uint64_t number_at(const json::Value &value, const char *key) {
  std::uint64_t number = 0;
  const json::Value *found = value.find(key);
  if (found != nullptr) (void)found->get_u64(number);
  return number;
}

json::Value value_of(const Witness &image) {
  json::Value value;
  value.set("file", image.file).set("source", image.source);
  value.set("device", image.id.device).set("inode", image.id.inode);
  value.set("mode", std::uint64_t{image.mode}).set("uid", std::uint64_t{image.uid});
  return value.set("gid", std::uint64_t{image.gid});
}

Witness witness_of(const json::Value &value, bool same_boot) {
  Witness image;
  image.file = text_at(value, "file");
  image.source = text_at(value, "source");
  // A filesystem may have another number after a reboot.
  image.id = {same_boot ? number_at(value, "device") : 0, number_at(value, "inode")};
  image.mode = static_cast<std::uint32_t>(number_at(value, "mode"));
  image.uid = static_cast<std::uint32_t>(number_at(value, "uid"));
  image.gid = static_cast<std::uint32_t>(number_at(value, "gid"));
  return image;
}

}  // namespace

Result<void> write_witness(const config::Settings &settings, const std::string &uuid,
                           const std::string &directory, const std::vector<Witness> &images) {
  if (images.empty()) return {};
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  json::Array list;
  for (const auto &image : images) list.push_back(value_of(image));
  json::Value value;
  value.set("schema", kWitnessSchema).set("uuid", uuid).set("directory", directory).set("boot_id", boot);
  value.set("images", std::move(list));
  const std::string path = witness_directory(settings);
  VBD_TRY_ASSIGN(auto opened, sys::make_trusted_directory(path, 0700, sys::kStateDirectory));
  auto written = sys::replace_file_at(opened.get(), witness_name(uuid), json::dump(value) + "\n");
  return written ? written : Result<void>(written.error().at(path));
}

Result<std::optional<Witness>> find_witness(const config::Settings &settings, const std::string &uuid,
                                            const std::string &directory, const std::string &file) {
  const std::string path = cat(witness_directory(settings), "/", witness_name(uuid));
  auto content = sys::read_trusted_file(path, kWitnessLimit, sys::kStateDirectory);
  if (!content) {
    if (content.error().is(sys::kNotFound)) return std::optional<Witness>{};
    return content.error();
  }
  auto value = json::parse(*content);
  if (!value) return value.error().at(path);
  if (text_at(*value, "schema") != kWitnessSchema)
    return Error(json::kBadJson, cat(path, ": not a ", kWitnessSchema));
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  const json::Value *images = value->find("images");
  if (text_at(*value, "directory") != directory || images == nullptr || images->as_array() == nullptr)
    return std::optional<Witness>{};
  for (const auto &image : *images->as_array()) {
    if (text_at(image, "file") == file)
      return std::optional(witness_of(image, text_at(*value, "boot_id") == boot));
  }
  return std::optional<Witness>{};
}

Result<void> drop_witness(const config::Settings &settings, const std::string &uuid) {
  auto directory = sys::open_trusted_directory(witness_directory(settings), sys::kStateDirectory);
  if (!directory) return directory.error().is(sys::kNotFound) ? Result<void>() : directory.error();
  return sys::unlink_at(directory->get(), witness_name(uuid));
}

}  // namespace vbd::instance
