// SPDX-License-Identifier: MIT
// export: the instance found and kept from changing, its disks written beside each other into a directory
// under another name, the description last, then the name.
#include <algorithm>
#include <chrono>

#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/bulk.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/host.hpp"
#include "manager/backup/backup.hpp"
#include "manager/backup/parallel.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::backup {
namespace {

using text::cat;

constexpr std::uint64_t kMiB = 1u << 20;

/// One disk of an export, as planned.
struct Job {
  const DiskRecord *disk = nullptr;
  std::string path;  ///< of the image
  Content content = Content::raw;
  std::string dump;  ///< its name in the export
  std::unique_ptr<image::OpenImage> image;
  std::optional<Moved> moved;
};

std::string dump_name(const DiskRecord &disk, Content content, bool zstd) {
  if (content == Content::image) return cat(disk.file, ".", text::lower(disk.filetype.str().substr(3)));
  const char *ending = content == Content::script ? "dump" : "raw";
  return cat(disk.file, ".", ending, zstd ? ".zst" : "");
}

Result<void> check_words(const Manager &manager, const ExportSpec &spec) {
  if (auto good = check_instance_name(spec.name); !good) return good;
  if (!spec.node.empty() && spec.node != manager.settings.node) {
    return Error(instance::kOtherNode,
                 cat("-n ", text::printable(spec.node), ": this is ", manager.settings.node,
                     ", and exports are written on the instance's own node"),
                 cat("run the command on ", text::printable(spec.node), ", or copy the export there"));
  }
  return {};
}

Result<void> check_state(const instance::Entry &entry, const ExportSpec &spec) {
  if (entry.state != instance::State::running || spec.live) return {};
  return Error(kRunning, cat("instance ", spec.name, ": is running, and its disks change"),
               cat("stop it first ('vbd instance stop ", spec.name, "'), or give --live"));
}

std::vector<Job> plan_jobs(const InstanceRecord &record, const ExportSpec &spec) {
  std::vector<Job> jobs;
  for (const auto &disk : record.disks) {
    Job job;
    job.disk = &disk;
    job.path = instance::logical_id(record, disk).path;
    job.content = spec.images ? Content::image : Content::raw;
    job.dump = dump_name(disk, job.content, spec.zstd);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

Plan describe(const Manager &manager, const ExportSpec &spec, const std::vector<Job> &jobs) {
  Plan lines;
  const std::string path = cat(manager.settings.export_dir, "/", spec.name);
  for (const auto &job : jobs) {
    lines.push_back(cat("write ", path, "/", job.dump, spec.images ? ": the image " : ": the bytes of ",
                        job.path, " (", job.disk->filetype.str(), ", ", format_size(job.disk->size), ")"));
  }
  lines.push_back(cat("write ", path, "/", kDescriptionFile));
  const auto there = open_export(manager.settings, spec.name);
  if (there || !there.error().is(kNoExport)) lines.push_back(cat("delete the older export in ", path));
  return lines;
}

/// What the image holds now, its blocks shared: goes with its descriptor.
Result<sys::Fd> snapshot_of(int image, const InstanceRecord &record, const Job &job) {
  const Error cannot(kCannotSnapshot,
                     cat(job.path, ": in use, and its filesystem can't make a snapshot of a file"),
                     "stop the instance first; xfs and btrfs share blocks of files (reflink)");
  auto directory = sys::open_directory(record.directory);
  if (!directory) return directory.error();
  auto snapshot = sys::open_nameless(directory->get());
  if (!snapshot) return snapshot.error().at(record.directory);
  if (!*snapshot) return cannot;
  auto cloned = sys::clone_file(image, snapshot->get());
  if (!cloned) return cloned.error().at(job.path);
  if (!*cloned) return cannot;
  return snapshot;
}

/// The image, or with --live a snapshot of one that is in use.
Result<sys::Fd> open_source(const Manager &manager, const InstanceRecord &record, const ExportSpec &spec,
                            const Job &job) {
  auto unused = instance::check_disk_unused(manager, record, *job.disk, spec.assume_unused);
  if (!unused && !spec.live) return unused.error();
  auto file =
      sys::open_image_below(job.path, sys::resolve_allowed(manager.settings.allowed_dirs), sys::Access::read);
  if (!file) return file;
  if (!unused) return snapshot_of(file->get(), record, job);
  if (auto locked = sys::lock_image(file->get(), sys::ImageLockMode::stable, job.path); !locked)
    return locked.error();
  return file;
}

/// Open, and kept from changing as long as it is.
Result<void> open_image(const Manager &manager, const InstanceRecord &record, const ExportSpec &spec,
                        Job &job) {
  auto file = open_source(manager, record, spec, job);
  if (!file) return file.error();
  auto image = image::OpenImage::open(manager.registry, manager.settings, job.disk->filetype,
                                      std::move(*file), job.path);
  if (!image) return image.error();
  if ((*image)->size() != job.disk->size) {
    return Error(kDamaged,
                 cat(job.path, ": has ", (*image)->size(), " bytes, the catalog says ", job.disk->size),
                 "'vbd cluster verify' shows more");
  }
  job.image = *std::move(image);
  return {};
}

Result<Moved> move_bytes(const Job &job, int to, bool zstd, const Watch &watch) {
  const auto source = image_source(*job.image);
  const auto sink = zstd ? zstd_sink(to) : file_sink(to);
  return transfer(*source, *sink, watch);
}

/// Blocks are shared where the filesystem can; then the file is only read, for its digest.
Result<Moved> move_file(const Job &job, int to, const Watch &watch) {
  auto source = file_source(job.image->fd());
  if (!source) return source.error();
  auto cloned = sys::clone_file(job.image->fd(), to);
  if (!cloned) return cloned.error();
  const auto sink = *cloned ? no_sink() : file_sink(to);
  return transfer(**source, *sink, watch);
}

Result<void> write_dump(int directory, bool zstd, const Watch &watch, Job &job) {
  auto file = sys::TempFile::create(directory, job.dump);
  if (!file) return file.error();
  auto moved = job.content == Content::image ? move_file(job, file->fd(), watch)
                                             : move_bytes(job, file->fd(), zstd, watch);
  if (!moved) return moved.error().at(job.dump);
  job.moved = *std::move(moved);
  auto published = std::move(*file).publish_new();
  return published ? Result<void>() : published.error().at(job.dump);
}

std::string ganeti_hypervisor(const config::Settings &settings, const InstanceRecord &record) {
  const auto type = record.hypervisor.find("type");
  const std::string name = hypervisor::short_name(settings.hypervisor);
  if (name == "xen") return type != record.hypervisor.end() && type->second == "hvm" ? "xen-hvm" : "xen-pvm";
  return name == "qemu" ? "kvm" : name;
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
  out.hypervisor = ganeti_hypervisor(manager.settings, record);
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
                job.content, job.moved->length, job.moved->digest};
    out.disks.push_back({job.dump, (disk.size + kMiB - 1) / kMiB, {}, std::move(own)});
  }
  return out;
}

Result<Description> do_export(const Manager &manager, const ExportSpec &spec, const Watch &watch) {
  auto work = instance::open_work(manager, spec.name);
  if (!work) return work.error();
  auto jobs = plan_jobs(work->record, spec);
  for (auto &job : jobs) {
    if (auto opened = open_image(manager, work->record, spec, job); !opened) return opened.error();
  }
  auto made = NewExport::begin(manager.settings, spec.name);
  if (!made) return made.error();
  auto done = in_parallel(jobs.size(), watch, [&](std::size_t i, const Watch &part) {
    return write_dump(made->directory(), spec.zstd, part, jobs[i]);
  });
  if (!done) return done.error().at(made->path());
  Description description = describe_export(manager, work->record, spec, jobs);
  auto text = write_description(description);
  if (!text) return text.error();
  if (auto published = made->publish(*text); !published) return published.error();
  return description;
}

}  // namespace

Result<Exported> export_instance(const Manager &manager, const ExportSpec &spec, bool dry_run,
                                 const Watch &watch) {
  if (auto good = check_words(manager, spec); !good) return good.error();
  auto entry = instance::find_settled(manager, spec.name, dry_run);
  if (!entry) return entry.error();
  if (auto good = check_state(*entry, spec); !good) return good.error();
  auto jobs = plan_jobs(entry->record, spec);
  for (auto &job : jobs) {
    if (auto opened = open_image(manager, entry->record, spec, job); !opened) return opened.error();
  }
  Exported out;
  out.path = cat(manager.settings.export_dir, "/", spec.name);
  out.plan = describe(manager, spec, jobs);
  if (dry_run) return out;
  jobs.clear();
  auto done = do_export(manager, spec, watch);
  log::audit(cat("backup export ", spec.name, " to ", out.path), done ? "done" : done.error().message());
  if (!done) return done.error();
  out.description = *std::move(done);
  return out;
}

Result<Plan> remove(const Manager &manager, const std::string &name, bool dry_run) {
  if (auto good = check_instance_name(name); !good) return good.error();
  auto found = open_export(manager.settings, name);
  if (!found) return found.error();
  auto files = files_of(*found);
  if (!files) return files.error();
  Plan plan;
  for (const auto &file : *files) plan.push_back(cat("delete ", found->path, "/", file));
  if (dry_run) return plan;
  auto done = remove_export(manager.settings, name);
  log::audit(cat("backup remove ", name, " in ", found->path), done ? "done" : done.error().message());
  if (!done) return done.error();
  return plan;
}

}  // namespace vbd::backup
