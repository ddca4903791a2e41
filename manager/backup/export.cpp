// SPDX-License-Identifier: MIT
// export: the instance found and kept from changing, its disks written beside each other into a directory
// under another name, the description last, then the name.
#include <algorithm>
#include <chrono>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/host.hpp"
#include "manager/backup/backup.hpp"
#include "manager/backup/export_jobs.hpp"
#include "manager/backup/parallel.hpp"
#include "manager/backup/script_dumps.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/instance/hold.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/os_scripts.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::backup {
namespace {

using text::cat;

constexpr std::uint64_t kMiB = 1u << 20;

Result<void> check_words(const Manager &manager, const ExportSpec &spec) {
  VBD_TRY(check_instance_name(spec.name));
  if (!spec.node.empty() && spec.node != manager.settings.node) {
    return Error(instance::kOtherNode,
                 cat("-n ", text::printable(spec.node), ": this is ", manager.settings.node,
                     ", and exports are written on the instance's own node"),
                 cat("run the command on ", text::printable(spec.node), ", or copy the export there"));
  }
  return {};
}

Result<void> check_state(const Manager &manager, const InstanceRecord &record, const ExportSpec &spec) {
  if (record.disks.empty()) {
    return Error(kNoDisks, cat("instance ", record.name, ": has no disk, and nothing to export"),
                 cat("what is known of it is in ", record.directory, "/", instance::kInstanceFile));
  }
  VBD_TRY(instance::check_unleased(manager, record));
  if (spec.live) return {};
  auto down = instance::check_down(manager, record);
  if (down || !down.error().is(instance::kRunning)) return down;
  return Error(kRunning, cat("instance ", spec.name, ": is running, and its disks change"),
               cat("stop it first ('vbd instance stop ", spec.name, "'), or give --live"));
}

/// The guest OS definition whose script writes the dumps; none where the disks themselves are dumped.
Result<std::optional<os::Definition>> definition_of(const Manager &manager, const InstanceRecord &record,
                                                    const ExportSpec &spec) {
  const auto jobs = plan_jobs(record, spec);
  if (jobs.empty() || jobs.front().content != Content::script) return std::optional<os::Definition>{};
  VBD_TRY_ASSIGN(auto name, os::parse_os_name(record.os));
  auto definition = os::find_definition(manager.settings, name.name);
  if (definition) {
    if (auto good = os::check_variant(*definition, name); !good) definition = good.error();
  }
  if (definition) return std::optional(*std::move(definition));
  const std::string hint = definition.error().hint();
  return definition.error().with_hint(
      cat(hint, hint.empty() ? "" : "; ", "--raw exports the disks themselves, without its script"));
}

/// For scripts the driver opens them.
Result<void> open_images(const Manager &manager, const InstanceRecord &record, const ExportSpec &spec,
                         const std::optional<os::Definition> &definition, std::vector<Job> &jobs) {
  if (definition) {
    auto unused = instance::check_all_unused(manager, record, spec.assume_unused);
    if (unused || !spec.live) return unused;
    return Error(kCannotSnapshot,
                 cat("instance ", record.name, ": in use, and the export script of ", record.os,
                     " reads disks, no snapshots"),
                 "stop the instance first, or add --raw, which exports the disks themselves");
  }
  for (auto &job : jobs) {
    if (job.content == Content::image && job.filetype != job.disk->filetype) {
      const image::CreateSpec target{job.filetype, {}, job.disk->size, true, {}};
      if (auto good = image::check_create(manager.registry, target, job.dump); !good) return good;
    }
    if (auto opened = open_image(manager, record, spec, job); !opened) return opened;
  }
  return {};
}

Plan describe(const Manager &manager, const InstanceRecord &record, const ExportSpec &spec,
              const std::vector<Job> &jobs) {
  Plan lines;
  const std::string path = cat(manager.settings.export_dir, "/", spec.name);
  for (const auto &job : jobs) lines.push_back(line_of(job, path, record.os));
  lines.push_back(cat("write ", path, "/", kDescriptionFile));
  const auto there = open_export(manager.settings, spec.name);
  if (there || !there.error().is(kNoExport)) lines.push_back(cat("delete the older export in ", path));
  return lines;
}

/// MiB; 0 where it is no number of them.
std::uint64_t number_of(const TextMap &map, const std::string &key) {
  const auto found = map.find(key);
  if (found == map.end() || found->second.empty() || found->second.size() > 9 ||
      found->second.find_first_not_of("0123456789") != std::string::npos) {
    return 0;
  }
  return std::stoull(found->second);
}

Description describe_export(const Manager &manager, const InstanceRecord &record, const ExportSpec &spec,
                            const std::vector<Job> &jobs) {
  Description out;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  out.timestamp = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
  out.source = manager.settings.node;
  out.name = record.name;
  out.os = record.os;
  out.hypervisor = hypervisor::outside_name(manager.settings.hypervisor, record.hypervisor);
  out.memory = std::max(number_of(record.backend, "maxmem"), number_of(record.backend, "memory"));
  out.vcpus = number_of(record.backend, "vcpus");
  out.backend = record.backend;
  out.hypervisor_parameters = record.hypervisor;
  out.os_parameters = record.os_parameters;
  out.nics = record.nics;
  out.ours = true;
  out.compression = spec.zstd ? Compression::zstd : Compression::none;
  for (const auto &job : jobs) {
    const DiskRecord &disk = *job.disk;
    OwnDisk own{disk.driver, disk.filetype,     disk.file,           disk.vdev,
                disk.mode,   disk.size,         disk.driver_options, disk.filetype_options,
                job.content, job.moved->length, job.moved->digest,   job.filetype};
    out.disks.push_back({job.dump, (disk.size + kMiB - 1) / kMiB, {}, std::move(own)});
  }
  return out;
}

/// Through the scripts, with all disks attached.
Result<void> write_by_scripts(const Manager &manager, const os::Definition &definition, instance::Work &work,
                              const NewExport &made, const Watch &watch, std::vector<Job> &jobs) {
  OperationRecord operation{"export", sys::now_rfc3339(), {}, false};
  operation.details[instance::kScriptDetail] = "export";
  VBD_TRY(instance::begin_operation(manager, work, std::move(operation)));
  auto done = instance::run_on_disks(
      manager, work.site, work.record, [&](const os::Call &call, const os::Guest &guest) -> Result<void> {
        VBD_TRY_ASSIGN(auto dumps, ScriptDumps::begin(call, definition, guest));
        return in_parallel(jobs.size(), watch, [&](std::size_t i, const Watch &part) {
          auto written = write_filled(made, jobs[i], [&](Sink &sink) { return dumps->save(i, sink, part); });
          return at_unless_script(written, cat(made.path(), "/", jobs[i].dump));
        });
      });
  return done ? instance::end_operation(manager, work) : done;
}

/// Everything under a name that nobody sees yet, then its name.
Result<Description> write_export(const Manager &manager, const ExportSpec &spec,
                                 const std::optional<os::Definition> &definition, instance::Work &work,
                                 const Watch &watch) {
  auto jobs = plan_jobs(work.record, spec);
  const auto open = [&] { return open_images(manager, work.record, spec, definition, jobs); };
  VBD_TRY(spec.live ? instance::hold_guest(manager, work, open) : open());
  // What is open does not change any more: a running instance is free to be stopped, or to be moved.
  if (spec.live && !definition) work.site.lock.reset();
  VBD_TRY_ASSIGN(auto made, NewExport::begin(manager.settings, spec.name));
  auto done = definition ? write_by_scripts(manager, *definition, work, made, watch, jobs)
                         : in_parallel(jobs.size(), watch, [&](std::size_t i, const Watch &part) {
                             return write_dump(manager, made, part, jobs[i]);
                           });
  if (!done) return definition ? done.error() : done.error().at(made.path());
  Description description = describe_export(manager, work.record, spec, jobs);
  VBD_TRY_ASSIGN(auto text, write_description(description));
  VBD_TRY(made.publish(text));
  return description;
}

/// With the unfinished export gone there is room again for what says that nothing goes on.
void end_failed(const Manager &manager, instance::Work &work) {
  if (!work.record.operation) return;
  if (auto ended = instance::settle_export(manager, work); !ended)
    log::error(cat("instance ", work.record.name, ": left interrupted: ", ended.error().message()));
}

Result<Description> do_export(const Manager &manager, const ExportSpec &spec, const Watch &watch) {
  VBD_TRY_ASSIGN(auto work, instance::open_work(manager, spec.name));
  VBD_TRY(check_state(manager, work.record, spec));
  VBD_TRY_ASSIGN(auto definition, definition_of(manager, work.record, spec));
  auto done = write_export(manager, spec, definition, work, watch);
  if (!done) end_failed(manager, work);
  return done;
}

}  // namespace

Result<Exported> export_instance(const Manager &manager, const ExportSpec &spec, bool dry_run,
                                 const Watch &watch) {
  VBD_TRY(check_words(manager, spec));
  VBD_TRY_ASSIGN(auto entry, instance::find_settled(manager, spec.name, dry_run));
  VBD_TRY(check_state(manager, entry.record, spec));
  VBD_TRY_ASSIGN(auto definition, definition_of(manager, entry.record, spec));
  auto jobs = plan_jobs(entry.record, spec);
  VBD_TRY(open_images(manager, entry.record, spec, definition, jobs));
  Exported out;
  out.path = cat(manager.settings.export_dir, "/", spec.name);
  out.plan = describe(manager, entry.record, spec, jobs);
  if (dry_run) return out;
  jobs.clear();
  auto done = do_export(manager, spec, watch);
  log::audit(cat("backup export ", spec.name, " to ", out.path), done ? "done" : done.error().message());
  if (!done) return done.error();
  out.description = *std::move(done);
  return out;
}

Result<Plan> remove(const Manager &manager, const std::string &name, bool dry_run) {
  VBD_TRY(check_instance_name(name));
  VBD_TRY_ASSIGN(auto found, open_export(manager.settings, name));
  VBD_TRY_ASSIGN(auto files, files_of(found));
  Plan plan;
  for (const auto &file : files) plan.push_back(cat("delete ", found.path, "/", file));
  if (dry_run) return plan;
  auto done = remove_export(manager.settings, name);
  log::audit(cat("backup remove ", name, " in ", found.path), done ? "done" : done.error().message());
  if (!done) return done.error();
  return plan;
}

}  // namespace vbd::backup
