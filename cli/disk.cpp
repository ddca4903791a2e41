// SPDX-License-Identifier: MIT
// vbd disk
#include <charconv>

#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/vet_words.hpp"
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/mount.hpp"

namespace vbd::cli {
namespace disk_file {
namespace {

Result<std::uint32_t> number_of(const Session &session, std::string_view key, std::string_view fallback) {
  const std::string text = session.args().value(key, fallback);
  std::uint32_t number = 0;
  const char *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) {
    return Error{kBadValue, text::cat("--", key, " ", shown(text), ": not a number, or too large")};
  }
  return number;
}

/// One line in the system's log for what changes something.
template <class T>
Result<T> logged(const std::string &what, bool dry_run, Result<T> result) {
  if (!dry_run) log::audit("disk " + what, result ? "done" : result.error().message());
  return result;
}

Result<device::AttachSpec> attach_spec(Session &session) {
  auto id = session.logical_id();
  if (!id) return id.error();
  auto options = session.option_values();
  if (!options) return options.error();
  VBD_TRY_ASSIGN(const auto block_size, number_of(session, "block-size", "512"));
  const bool read_only = session.args().has("read-only");
  device::AttachSpec spec{*std::move(id), session.args().value("holder", "cli"),
                          read_only,      *std::move(options),
                          block_size,     session.dry_run()};
  spec.vetting = session.vetting().word;
  return spec;
}

Result<Outcome> attach(Session &session) {
  VBD_TRY_ASSIGN(const auto spec, attach_spec(session));
  const std::string step =
      text::cat("attach ", spec.id.str(), spec.read_only ? " read-only" : "", " for ", spec.holder);
  VBD_TRY_ASSIGN(const auto attachment,
                 logged(step, session.dry_run(), device::attach(session.device(), spec)));
  if (!session.dry_run()) return report::attachment(session.json(), spec.id, attachment);
  instance::Plan plan = {step};
  if (const std::string vetting = instance::vetting_line(session.vetting_manager()); !vetting.empty())
    plan.insert(plan.begin(), vetting);
  return report::plan(session.json(), plan, true, "");
}

Result<Outcome> detach(Session &session) {
  VBD_TRY_ASSIGN(const auto id, session.logical_id());
  const std::string holder = session.args().value("holder", "cli");
  const std::string step = text::cat("detach ", id.str(), " of ", holder);
  const bool dry_run = session.dry_run();
  VBD_TRY(logged(step, dry_run, device::detach(session.device(), id, holder, dry_run)));
  return report::plan(session.json(), {step}, dry_run, "");
}

Result<Outcome> query(Session &session) {
  VBD_TRY_ASSIGN(const auto id, session.logical_id());
  VBD_TRY_ASSIGN(const auto status, device::query(session.device(), id));
  return report::status(session.json(), id, status);
}

Result<Outcome> render(Session &session) {
  auto id = session.logical_id();
  if (!id) return id.error();
  auto options = session.option_values();
  if (!options) return options.error();
  device::RenderSpec spec{*std::move(id), session.args().value("dialect"), session.args().value("vdev"),
                          session.args().value("access", "w") == "r", *std::move(options)};
  auto disk = device::render(session.device(), spec);
  if (!disk) return disk.error();
  if (!session.json()) return Outcome{*std::move(disk) + "\n", {}};
  json::Value value;
  value.set("schema", "vbdkit.render/1")
      .set("logical_id", report::to_json(spec.id))
      .set("dialect", spec.dialect);
  value.set("disk", *std::move(disk));
  return Outcome{{}, std::move(value)};
}

Result<device::MountRequest> mount_request(Session &session) {
  auto id = session.logical_id();
  if (!id) return id.error();
  VBD_TRY_ASSIGN(const auto partition, number_of(session, "partition", "0"));
  VBD_TRY_ASSIGN(auto point, sys::open_mount_point(sys::absolute_path(session.args().value("DIR"))));
  return device::MountRequest{*std::move(id), point.path, partition, session.args().has("read-only"),
                              session.vetting().word};
}

/// What mount does, step by step; attaching is tried dry, for that is where it can be refused.
Result<Outcome> plan_mount(Session &session, const device::MountRequest &request) {
  device::AttachSpec spec{request.id, text::cat("mount:", request.directory), request.read_only, {}, 512,
                          true};
  spec.vetting = request.vetting;
  VBD_TRY(device::attach(session.device(), spec));
  const std::string part = request.partition == 0 ? "" : text::cat("partition ", request.partition, " of ");
  return report::plan(
      session.json(),
      {text::cat("attach ", request.id.str(), request.read_only ? " read-only" : "", " for ", spec.holder),
       text::cat("mount ", part, "its device on ", request.directory)},
      true, "");
}

Result<Outcome> mount(Session &session) {
  VBD_TRY_ASSIGN(const auto request, mount_request(session));
  if (session.dry_run()) return plan_mount(session, request);
  const std::string step = text::cat("mount ", request.id.str(), " on ", request.directory);
  VBD_TRY_ASSIGN(const auto attachment, logged(step, false, device::mount(session.device(), request)));
  return report::attachment(session.json(), request.id, attachment);
}

Result<Outcome> umount(Session &session) {
  VBD_TRY_ASSIGN(const auto id, session.logical_id());
  const std::string directory = sys::absolute_path(session.args().value("DIR"));
  const instance::Plan steps = {text::cat("unmount ", directory),
                                text::cat("detach ", id.str(), " of mount:", directory)};
  if (!session.dry_run()) {
    const std::string step = text::cat("umount ", id.str(), " from ", directory);
    VBD_TRY(logged(step, false, device::umount(session.device(), id, directory)));
  }
  return report::plan(session.json(), steps, session.dry_run(), "");
}

constexpr ArgumentSpec kId[] = {
    {"LOGICAL_ID", "'[DRIVER, FILETYPE, \"/full/path\"]'; constants may be short: loop, raw"}};
constexpr ArgumentSpec kIdAndDir[] = {{"LOGICAL_ID", "'[DRIVER, FILETYPE, \"/full/path\"]'"},
                                      {"DIR", "an existing directory", true, Meaning::file}};
constexpr OptionSpec kHolder = {"--holder", Takes::value, "NAME",
                                "for whom; the device goes with its last holder (default: cli)"};
constexpr OptionSpec kOption = {"-O,--option", Takes::values, "NAME=VALUE",
                                "an option of the driver; see vbd plugin show"};

constexpr OptionSpec kAttachOptions[] = {
    {"--read-only", Takes::nothing, "", "make a read-only device"},
    {"--block-size", Takes::value, "BYTES", "logical block size of the device (default: 512)"},
    kOption,
    kHolder,
    kRepairTaken,
    kUnchecked,
};
constexpr OptionSpec kDetachOptions[] = {kHolder};
constexpr OptionSpec kRenderOptions[] = {
    {"--dialect", Takes::value, "NAME", "the hypervisor's way to write a disk: xm, xl, ...", "", true},
    {"--vdev", Takes::value, "NAME", "the guest's name for the disk: sda1", "", true},
    {"--access", Takes::value, "w|r", "writable or read-only (default: w)", "w|r"},
    kOption,
};
constexpr OptionSpec kMountOptions[] = {
    {"--partition", Takes::value, "N", "mount partition N; default: the whole disk"},
    {"--read-only", Takes::nothing, "", "read-only device, no journal is replayed: the image stays as it is"},
    kRepairTaken,
    kUnchecked,
};

constexpr std::string_view kAttachExamples[] = {
    R"(vbd disk attach '[FD_LOOP, FT_RAW, "/srv/ganeti/file-storage/web1/sda"]')",
    "vbd disk attach --read-only '[loop, raw, /srv/ganeti/file-storage/web1/sda]'",
};
constexpr std::string_view kDetachExamples[] = {
    "vbd disk detach '[loop, raw, /srv/ganeti/file-storage/web1/sda]'"};
constexpr std::string_view kQueryExamples[] = {
    "vbd disk query '[loop, raw, /srv/ganeti/file-storage/web1/sda]' --output json"};
constexpr std::string_view kRenderExamples[] = {
    "vbd disk render '[blktap, qcow, /srv/ganeti/file-storage/web1/sda]' --dialect xl --vdev sda1 --access "
    "w"};
constexpr std::string_view kMountExamples[] = {
    "vbd disk mount '[loop, raw, /srv/ganeti/file-storage/web1/sda]' /mnt --partition 1 --read-only"};
constexpr std::string_view kUmountExamples[] = {
    "vbd disk umount '[loop, raw, /srv/ganeti/file-storage/web1/sda]' /mnt"};

constexpr VerbSpec kVerbs[] = {
    {"attach", "make a block device of a disk and print its node",
     "Makes a block device of a disk, or finds the one that is there, and prints its node and nothing else.\n"
     "An image that is new here, or that others changed meanwhile, is checked whole first.",
     kAttachOptions, kId, kAttachExamples, true, false, attach},
    {"detach", "take the block device away",
     "Drops the holder; the device goes with the last one. Detached already: fine.", kDetachOptions, kId,
     kDetachExamples, true, false, detach},
    {"query",
     "say whether a disk is attached, detached or broken",
     "",
     {},
     kId,
     kQueryExamples,
     false,
     false,
     query},
    {"render", "print the disk as a hypervisor's configuration has it", "", kRenderOptions, kId,
     kRenderExamples, false, false, render},
    {"mount", "attach a disk and mount it", "Attaches a disk and mounts it, always nosuid, nodev and noexec.",
     kMountOptions, kIdAndDir, kMountExamples, true, false, mount},
    {"umount", "unmount a disk and detach it", "", {}, kIdAndDir, kUmountExamples, true, false, umount},
};

}  // namespace
}  // namespace disk_file

std::span<const VerbSpec> disk_verbs() {
  return disk_file::kVerbs;
}

}  // namespace vbd::cli
