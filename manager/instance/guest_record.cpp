// SPDX-License-Identifier: MIT
#include "manager/instance/guest_record.hpp"

#include "core/base/text.hpp"
#include "core/json/json.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr const char *kFile = "guest.json", *kSchema = "vbdkit.guest/1";
constexpr std::size_t kLimit = 65536;

std::string text_of(const json::Value &value, const char *key) {
  const json::Value *found = value.find(key);
  return found != nullptr && found->as_string() != nullptr ? *found->as_string() : std::string();
}

}  // namespace

std::string guest_directory(const config::Settings &settings, const std::string &uuid) {
  return cat(settings.run_dir, "/instances/", uuid);
}

std::string directory_of(const config::Settings &settings, const GuestRecord &guest) {
  return guest.directory.empty() ? guest_directory(settings, guest.uuid) : guest.directory;
}

Result<std::optional<GuestRecord>> read_guest(const config::Settings &settings, const std::string &uuid) {
  const std::string path = cat(guest_directory(settings, uuid), "/", kFile);
  auto content = sys::read_file(path, kLimit);
  if (!content) {
    if (content.error().is(sys::kNotFound)) return std::optional<GuestRecord>{};
    return content.error();
  }
  auto boot = sys::boot_id();
  if (!boot) return boot.error();
  return parse_guest(*content, uuid, *boot, path);
}

Result<std::optional<GuestRecord>> parse_guest(std::string_view content, const std::string &uuid,
                                               const std::string &boot, const std::string &path) {
  auto value = json::parse(content);
  if (!value) return value.error().at(path);
  if (text_of(*value, "schema") != kSchema) return Error(json::kBadJson, cat(path, ": not a ", kSchema));
  if (text_of(*value, "boot_id") != boot) return std::optional<GuestRecord>{};
  GuestRecord guest{
      uuid, text_of(*value, "name"), text_of(*value, "hypervisor"), text_of(*value, "started"), false, {}};
  guest.up = text_of(*value, "phase") == "up";
  const json::Value *pid = value->find("pid"), *start = value->find("start_time");
  guest.has_uuid = text_of(*value, "guest_uuid") == uuid;
  guest.held = text_of(*value, "held") == "export";
  guest.directory = text_of(*value, "directory");
  if (pid != nullptr) (void)pid->get_i64(guest.process.pid);
  if (start != nullptr) (void)start->get_u64(guest.process.start_time);
  // To kill(2) a negative one is a group of processes, and -1 are all.
  if (guest.process.pid < 0 || guest.process.pid > INT32_MAX)
    return Error(json::kBadJson, cat(path, ": pid ", guest.process.pid, " is no process"));
  return std::optional(guest);
}

Result<std::vector<GuestRecord>> noted_guests(const config::Settings &settings) {
  std::vector<GuestRecord> guests;
  auto directory = sys::open_directory(cat(settings.run_dir, "/instances"));
  if (!directory) {
    if (directory.error().is(sys::kNotFound)) return guests;
    return directory.error();
  }
  auto names = sys::list_dir(directory->get());
  if (!names) return names.error();
  for (const auto &name : *names) {
    auto guest = read_guest(settings, name);
    if (guest && *guest) guests.push_back(std::move(**guest));
  }
  return guests;
}

Result<void> write_guest(const config::Settings &settings, const GuestRecord &guest) {
  auto boot = sys::boot_id();
  if (!boot) return boot.error();
  const std::string path = guest_directory(settings, guest.uuid);
  if (auto made = sys::make_dirs(path, 0700); !made) return made;
  auto directory = sys::open_directory(path);
  if (!directory) return directory.error();
  return sys::replace_file_at(directory->get(), kFile, format_guest(guest, *boot));
}

std::string format_guest(const GuestRecord &guest, const std::string &boot) {
  json::Value value;
  value.set("schema", kSchema).set("uuid", guest.uuid).set("name", guest.name);
  value.set("hypervisor", guest.hypervisor).set("phase", guest.up ? "up" : "starting");
  value.set("pid", guest.process.pid).set("start_time", guest.process.start_time);
  value.set("started", guest.started).set("boot_id", boot);
  if (guest.held) value.set("held", "export");
  if (guest.has_uuid) value.set("guest_uuid", guest.uuid);
  if (!guest.directory.empty()) value.set("directory", guest.directory);
  return json::dump(value) + "\n";
}

Result<void> drop_guest(const config::Settings &settings, const std::string &uuid) {
  const std::string path = guest_directory(settings, uuid);
  auto directory = sys::open_directory(path);
  if (!directory) return directory.error().is(sys::kNotFound) ? Result<void>() : directory.error();
  auto names = sys::list_dir(directory->get());
  if (!names) return names.error();
  for (const auto &name : *names) {
    if (auto gone = sys::unlink_at(directory->get(), name); !gone) return gone.error().at(path);
  }
  auto parent = sys::open_directory(sys::dir_name(path));
  if (!parent) return parent.error();
  return sys::remove_dir_at(parent->get(), uuid);
}

}  // namespace vbd::instance
