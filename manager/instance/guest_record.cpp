// SPDX-License-Identifier: MIT
#include "manager/instance/guest_record.hpp"

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/json/json.hpp"
#include "core/sys/files.hpp"
#include "core/sys/guard.hpp"
#include "core/sys/host.hpp"
#include "core/sys/spare.hpp"
#include "core/sys/spawn.hpp"
#include "core/sys/trusted.hpp"
#include "manager/hypervisor/guest.hpp"

namespace vbd::instance {
namespace {

using text::cat;

constexpr const char *kFile = "guest.json", *kSchema = "vbdkit.guest/1";
constexpr std::size_t kLimit = 65536;

std::string text_of(const json::Value &value, const char *key) {
  const json::Value *found = value.find(key);
  return found != nullptr && found->as_string() != nullptr ? *found->as_string() : std::string();
}

/// A process of that number and start time that is not the guest is never signalled, nor taken for it.
Result<void> check_process(int directory, const GuestRecord &guest, const std::string &path) {
  if (!guest.guarded || guest.process.pid <= 0) return {};
  if (!guest.directory.empty()) return {};  // it was found by the lock of a file that may be gone
  if (!sys::process_alive(guest.process)) return {};
  if (sys::has_guard(directory, hypervisor::kGuardFile, guest.process)) return {};
  if (!sys::process_alive(guest.process)) return {};  // it was ending: then its files go first
  return Error(kBadNote,
               cat(text::printable(path), ": process ", guest.process.pid, " is not the guest of ",
                   text::printable(guest.name), ": it does not have ", hypervisor::kGuardFile, " open"),
               "look whether the guest runs and end it yourself, then remove the file");
}

GuestRecord parse_note(const json::Value &value, const std::string &uuid) {
  GuestRecord guest;
  guest.uuid = uuid;
  guest.name = text_of(value, "name");
  guest.hypervisor = text_of(value, "hypervisor");
  guest.started = text_of(value, "started");
  guest.up = text_of(value, "phase") == "up";
  const json::Value *pid = value.find("pid"), *start = value.find("start_time"),
                    *guarded = value.find("guarded");
  guest.has_uuid = text_of(value, "guest_uuid") == uuid;
  guest.held = text_of(value, "held") == "export";
  guest.directory = text_of(value, "directory");
  if (pid != nullptr) (void)pid->get_i64(guest.process.pid);
  if (start != nullptr) (void)start->get_u64(guest.process.start_time);
  if (guarded != nullptr && guarded->as_bool() != nullptr) guest.guarded = *guarded->as_bool();
  return guest;
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
  auto directory = sys::open_trusted_directory(guest_directory(settings, uuid), sys::kRunDirectory);
  auto content = directory ? sys::read_trusted_at(directory->get(), kFile, path, kLimit, sys::kRunDirectory)
                           : Result<std::string>(directory.error());
  if (!content) {
    if (content.error().is(sys::kNotFound)) return std::optional<GuestRecord>{};
    return content.error();
  }
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  auto guest = parse_guest(*content, uuid, boot, path);
  if (!guest || !*guest) return guest;
  VBD_TRY(check_process(directory->get(), **guest, path));
  return guest;
}

Result<std::optional<GuestRecord>> parse_guest(std::string_view content, const std::string &uuid,
                                               const std::string &boot, const std::string &path) {
  auto value = json::parse(content);
  if (!value) return value.error().at(path);
  if (text_of(*value, "schema") != kSchema) return Error(json::kBadJson, cat(path, ": not a ", kSchema));
  if (text_of(*value, "boot_id") != boot) return std::optional<GuestRecord>{};
  const GuestRecord guest = parse_note(*value, uuid);
  // To kill(2) a negative one is a group of processes, and -1 are all.
  if (guest.process.pid < 0 || guest.process.pid > INT32_MAX)
    return Error(json::kBadJson, cat(path, ": pid ", guest.process.pid, " is no process"));
  return std::optional(guest);
}

Result<std::vector<GuestRecord>> noted_guests(const config::Settings &settings) {
  std::vector<GuestRecord> guests;
  auto directory = sys::open_trusted_directory(cat(settings.run_dir, "/instances"), sys::kRunDirectory);
  if (!directory) {
    if (directory.error().is(sys::kNotFound)) return guests;
    return directory.error();
  }
  VBD_TRY_ASSIGN(auto names, sys::list_dir(directory->get()));
  for (const auto &name : names) {
    auto guest = read_guest(settings, name);
    if (!guest) log::warn(guest.error().message());
    if (guest && *guest) guests.push_back(std::move(**guest));
  }
  return guests;
}

Result<void> write_guest(const config::Settings &settings, const GuestRecord &guest) {
  VBD_TRY_ASSIGN(auto boot, sys::boot_id());
  const std::string path = guest_directory(settings, guest.uuid);
  VBD_TRY_ASSIGN(auto directory, sys::make_trusted_directory(path, 0700, sys::kRunDirectory));
  return sys::replace_record_at(directory.get(), kFile, format_guest(guest, boot));
}

std::string format_guest(const GuestRecord &guest, const std::string &boot) {
  json::Value value;
  value.set("schema", kSchema).set("uuid", guest.uuid).set("name", guest.name);
  value.set("hypervisor", guest.hypervisor).set("phase", guest.up ? "up" : "starting");
  value.set("pid", guest.process.pid).set("start_time", guest.process.start_time);
  value.set("started", guest.started).set("boot_id", boot).set("guarded", guest.guarded);
  if (guest.held) value.set("held", "export");
  if (guest.has_uuid) value.set("guest_uuid", guest.uuid);
  if (!guest.directory.empty()) value.set("directory", guest.directory);
  return json::dump(value) + "\n";
}

Result<void> drop_guest(const config::Settings &settings, const std::string &uuid) {
  const std::string path = guest_directory(settings, uuid);
  auto directory = sys::open_trusted_directory(path, sys::kRunDirectory);
  if (!directory) return directory.error().is(sys::kNotFound) ? Result<void>() : directory.error();
  VBD_TRY_ASSIGN(auto names, sys::list_dir(directory->get()));
  for (const auto &name : names) {
    if (auto gone = sys::unlink_at(directory->get(), name); !gone) return gone.error().at(path);
  }
  VBD_TRY_ASSIGN(auto parent, sys::open_trusted_directory(sys::dir_name(path), sys::kRunDirectory));
  return sys::remove_dir_at(parent.get(), uuid);
}

}  // namespace vbd::instance
