// SPDX-License-Identifier: MIT
// import: an add whose disks are filled before the instance appears. What a killed run leaves is an
// interrupted add, which the next command undoes.
#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/sys/bulk.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"
#include "manager/backup/import_plan.hpp"
#include "manager/backup/parallel.hpp"
#include "manager/instance/site.hpp"

namespace vbd::backup {
namespace {

using text::cat;

std::unique_ptr<Source> source_of(const Dump &dump, Result<void> &failed) {
  if (dump.zstd) return zstd_source(dump.file.get(), dump.length, dump.name);
  auto source = file_source(dump.file.get());
  if (!source) {
    failed = source.error();
    return nullptr;
  }
  return *std::move(source);
}

Result<void> check_digest(const Dump &dump, const Moved &moved) {
  if (dump.digest.empty() || (moved.digest == dump.digest && moved.length == dump.length)) return {};
  return Error(kDamaged, cat(dump.name, ": its digest is ", moved.digest, ", the export says ", dump.digest),
               "the dump was changed or damaged; nothing was imported");
}

/// A filetype whose file's bytes are the guest's (docs/plugin-authors.md, prop.flat).
bool is_flat(const plugin::Plugin &plugin) {
  const auto found = plugin.note().properties.find("flat");
  return found != plugin.note().properties.end() && found->second == "1";
}

/// Into an image that is empty so far.
Result<void> fill_raw(const config::Settings &settings, plugin::Plugin &plugin, const std::string &path,
                      const Dump &dump, const Watch &watch) {
  auto file =
      sys::open_image_below(path, sys::resolve_allowed(settings.allowed_dirs), sys::Access::read_write);
  if (!file) return file.error();
  if (auto locked = sys::lock_image(file->get(), sys::ImageLockMode::exclusive, path); !locked) return locked;
  Result<void> failed;
  const auto source = source_of(dump, failed);
  if (!source) return failed;
  auto sink = is_flat(plugin) ? Result<std::unique_ptr<Sink>>(file_sink(file->get(), dump.size))
                              : image_sink(plugin, file->get(), path);
  if (!sink) return sink.error();
  auto moved = transfer(*source, **sink, watch);
  if (!moved) return moved.error();
  if (auto good = check_digest(dump, *moved); !good) return good;
  return sys::sync_fd(file->get());
}

/// The image file itself: its blocks shared where the filesystem can, and read once for the digest.
Result<void> bring_image(const Manager &manager, const instance::Site &site, const InstanceRecord &record,
                         const Dump &dump, const Watch &watch) {
  const DiskRecord &disk = record.disks[dump.index];
  auto ownership = config::image_ownership(manager.settings);
  if (!ownership) return ownership.error();
  auto file = sys::TempFile::create(site.directory.get(), disk.file, *ownership);
  if (!file) return file.error();
  auto source = file_source(dump.file.get());
  if (!source) return source.error();
  auto cloned = sys::clone_file(dump.file.get(), file->fd());
  if (!cloned) return cloned.error();
  const auto sink = *cloned ? no_sink() : file_sink(file->fd());
  auto moved = transfer(**source, *sink, watch);
  if (!moved) return moved.error();
  if (auto good = check_digest(dump, *moved); !good) return good;
  auto published = std::move(*file).publish_new();
  return published ? Result<void>() : published.error();
}

/// What was brought is an image of the filetype that the catalog is going to say, of the size it says.
Result<void> check_brought(const Manager &manager, const InstanceRecord &record, const Dump &dump) {
  const DiskRecord &disk = record.disks[dump.index];
  const std::string path = instance::logical_id(record, disk).path;
  auto file =
      sys::open_image_below(path, sys::resolve_allowed(manager.settings.allowed_dirs), sys::Access::read);
  if (!file) return file.error();
  auto info = image::verify_declared(manager.registry, disk.filetype, file->get(), path);
  if (!info) return info.error();
  if (auto good = image::check_references(*info, manager.settings, path); !good) return good;
  if (info->virtual_size == disk.size) return {};
  return Error(kDamaged,
               cat(dump.name, ": a disk of ", info->virtual_size, " bytes, the export says ", disk.size));
}

/// Plugins are loaded before there are several threads.
Result<std::vector<plugin::Plugin *>> load_plugins(const Manager &manager, const InstanceRecord &record) {
  std::vector<plugin::Plugin *> plugins;
  for (const auto &disk : record.disks) {
    auto plugin = manager.registry.load(disk.filetype);
    if (!plugin) return plugin.error();
    plugins.push_back(*plugin);
  }
  return plugins;
}

Result<void> fill(const Manager &manager, const instance::Site &site, const InstanceRecord &record,
                  const ImportPlan &plan, const Watch &watch) {
  auto plugins = load_plugins(manager, record);
  if (!plugins) return plugins.error();
  auto done = in_parallel(plan.dumps.size(), watch, [&](std::size_t i, const Watch &part) {
    const Dump &dump = plan.dumps[i];
    if (dump.name.empty()) return Result<void>();
    if (dump.content == Content::image) return bring_image(manager, site, record, dump, part);
    const std::string path = instance::logical_id(record, record.disks[i]).path;
    return fill_raw(manager.settings, *(*plugins)[i], path, dump, part);
  });
  for (std::size_t i = 0; i < plan.dumps.size() && done; ++i) {
    if (plan.dumps[i].content == Content::image) done = check_brought(manager, record, plan.dumps[i]);
  }
  return done ? done : Result<void>(done.error().at(plan.source.path));
}

}  // namespace

Result<Plan> import_instance(const Manager &manager, const ImportSpec &spec, bool dry_run,
                             const Watch &watch) {
  auto plan = plan_import(manager, spec);
  if (!plan) return plan.error();
  const instance::Fill filling = [&](const instance::Site &site, const InstanceRecord &record) {
    return fill(manager, site, record, *plan, watch);
  };
  auto lines = instance::add(manager, plan->add, dry_run, filling);
  if (!lines && lines.error().is(instance::kMacInUse) && spec.add.nics.empty())
    return lines.error().with_hint("--mac generate makes new addresses");
  if (!lines) return lines.error();
  lines->insert(lines->end(), plan->lines.begin(), plan->lines.end());
  return lines;
}

}  // namespace vbd::backup
