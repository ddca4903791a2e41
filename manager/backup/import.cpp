// SPDX-License-Identifier: MIT
// import: an add whose disks are filled before the instance appears. What a killed run leaves is an
// interrupted add, which the next command undoes.
#include "core/base/log.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/bulk.hpp"
#include "core/sys/files.hpp"
#include "core/sys/locks.hpp"
#include "core/sys/move.hpp"
#include "manager/backup/import_plan.hpp"
#include "manager/backup/parallel.hpp"
#include "manager/backup/script_dumps.hpp"
#include "manager/instance/os_scripts.hpp"
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

bool takes_file(const Dump &dump) {
  return dump.content == Content::image && !dump.converted_from;
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

/// The very file that the digest is of, as an image.
Result<std::unique_ptr<image::OpenImage>> open_converted(const Manager &manager, const std::string &directory,
                                                         const Dump &dump) {
  const std::string path = cat(directory, "/", dump.name);
  VBD_TRY_ASSIGN(auto info,
                 image::verify_declared(manager.registry, *dump.converted_from, dump.file.get(), path));
  if (manager.vetting.word != image::Vetting::Word::unchecked) {
    // It is only read, and is not ours to repair.
    VBD_TRY(image::vet(manager.registry, manager.settings, *dump.converted_from, dump.file.get(), path,
                       {image::Vetting::Word::check, true}));
  }
  if (!info.references.empty())
    return Error(kDamaged, cat(dump.name, ": refers to another file, which is not in the export"));
  VBD_TRY_ASSIGN(auto file, sys::duplicate(dump.file.get()));
  auto image =
      image::OpenImage::open(manager.registry, manager.settings, *dump.converted_from, std::move(file), path);
  if (!image || (*image)->size() <= dump.size) return image;
  return Error(kDamaged,
               cat(dump.name, ": a disk of ", (*image)->size(), " bytes, more than the export says"));
}

/// A filetype's image, as one of another filetype: read once for the digest of its file, then through its
/// filetype.
Result<std::unique_ptr<image::OpenImage>> open_checked(const Manager &manager, const std::string &directory,
                                                       const Dump &dump, const Watch &watch) {
  VBD_TRY_ASSIGN(auto source, file_source(dump.file.get()));
  const auto nothing = no_sink();
  VBD_TRY_ASSIGN(auto moved, transfer(*source, *nothing, watch));
  VBD_TRY(check_digest(dump, moved));
  return open_converted(manager, directory, dump);
}

/// Into an image that is empty so far.
Result<void> fill_from(const config::Settings &settings, plugin::Plugin &plugin, const std::string &path,
                       Source &source, const Dump &dump, bool check, const Watch &watch) {
  auto file =
      sys::open_image_below(path, sys::resolve_allowed(settings.allowed_dirs), sys::Access::read_write);
  if (!file) return file.error();
  VBD_TRY(sys::lock_image(file->get(), sys::ImageLockMode::exclusive, path));
  VBD_TRY_ASSIGN(auto sink, is_flat(plugin) ? Result<std::unique_ptr<Sink>>(file_sink(file->get(), dump.size))
                                            : image_sink(plugin, file->get(), path));
  VBD_TRY_ASSIGN(auto moved, transfer(source, *sink, watch));
  if (check) {
    if (auto good = check_digest(dump, moved); !good) return good;
  }
  return sys::sync_fd(file->get());
}

Result<void> fill_raw(const Manager &manager, plugin::Plugin &plugin, const ImportPlan &plan,
                      const std::string &path, const Dump &dump, const Watch &watch) {
  if (dump.converted_from) {
    VBD_TRY_ASSIGN(auto image, open_checked(manager, plan.source.path, dump, watch));
    const auto source = image_source(*image);
    return fill_from(manager.settings, plugin, path, *source, dump, false, watch);
  }
  Result<void> failed;
  const auto source = source_of(dump, failed);
  if (!source) return failed;
  return fill_from(manager.settings, plugin, path, *source, dump, true, watch);
}

/// The guest's files follow to another name. A script that fails leaves a guest that is whole: Ganeti too
/// only says so.
Result<void> tell_name(const os::Call &call, const os::Guest &guest, const ImportPlan &plan) {
  if (guest.record.name == plan.source.description.name) return {};
  auto renamed = os::run_rename(call, *plan.definition, guest, plan.source.description.name);
  if (renamed || !renamed.error().is(os::kScriptFailed)) return renamed;
  log::warn(
      cat("instance ", guest.record.name, ": ", renamed.error().message(), "; ", renamed.error().hint()));
  return {};
}

/// Through the import script, with all disks attached; what it wrote is on disk when this returns.
Result<void> fill_by_scripts(const Manager &manager, const instance::Site &site, const InstanceRecord &record,
                             const ImportPlan &plan, const Watch &watch) {
  auto done = instance::run_on_disks(
      manager, site, record, [&](const os::Call &call, const os::Guest &guest) -> Result<void> {
        VBD_TRY_ASSIGN(auto dumps, ScriptDumps::begin(call, *plan.definition, guest));
        auto restored = in_parallel(plan.dumps.size(), watch, [&](std::size_t i, const Watch &part) {
          const Dump &dump = plan.dumps[i];
          if (dump.name.empty()) return Result<void>();
          Result<void> failed;
          const auto source = source_of(dump, failed);
          if (!source) return failed;
          auto read = dumps->restore(
              i, *source, [&dump](const Moved &moved) { return check_digest(dump, moved); }, part);
          return at_unless_script(read, plan.source.path);
        });
        return restored ? tell_name(call, guest, plan) : restored;
      });
  for (std::size_t i = 0; i < record.disks.size() && done; ++i) {
    const std::string path = instance::logical_id(record, record.disks[i]).path;
    auto file = sys::open_image_below(path, sys::resolve_allowed(manager.settings.allowed_dirs),
                                      sys::Access::read_write);
    done = file ? sys::sync_fd(file->get()) : file.error();
  }
  return done;
}

/// The image file itself: its blocks shared where the filesystem can, and read once for the digest.
Result<void> bring_image(const Manager &manager, const instance::Site &site, const InstanceRecord &record,
                         const Dump &dump, const Watch &watch) {
  const DiskRecord &disk = record.disks[dump.index];
  VBD_TRY_ASSIGN(auto ownership, config::image_ownership(manager.settings));
  VBD_TRY_ASSIGN(auto file, sys::TempFile::create(site.directory.get(), disk.file, ownership));
  VBD_TRY_ASSIGN(auto cloned, sys::clone_whole(dump.file.get(), file.fd()));
  auto source = file_source(cloned ? file.fd() : dump.file.get());  // the digest is of what is kept
  if (!source) return source.error();
  const auto sink = cloned ? no_sink() : file_sink(file.fd());
  VBD_TRY_ASSIGN(auto moved, transfer(**source, *sink, watch));
  VBD_TRY(check_digest(dump, moved));
  auto published = std::move(file).publish_new();
  return published ? Result<void>() : published.error();
}

/// What was brought is an image of the filetype that the catalog is going to say, of the size it says.
Result<void> check_brought(const Manager &manager, const InstanceRecord &record, const Dump &dump) {
  const DiskRecord &disk = record.disks[dump.index];
  const std::string path = instance::logical_id(record, disk).path;
  auto file =
      sys::open_image_below(path, sys::resolve_allowed(manager.settings.allowed_dirs), sys::Access::read);
  if (!file) return file.error();
  VBD_TRY_ASSIGN(auto info, image::verify_declared(manager.registry, disk.filetype, file->get(), path));
  VBD_TRY(image::check_references(info, manager.settings, path));
  file->reset();
  VBD_TRY(instance::vet_image(manager, instance::logical_id(record, disk)));
  if (info.virtual_size == disk.size) return {};
  return Error(kDamaged,
               cat(dump.name, ": a disk of ", info.virtual_size, " bytes, the export says ", disk.size));
}

/// Plugins are loaded before there are several threads.
Result<std::vector<plugin::Plugin *>> load_plugins(const Manager &manager, const InstanceRecord &record,
                                                   const ImportPlan &plan) {
  for (const auto &dump : plan.dumps) {
    if (!dump.converted_from) continue;
    if (auto plugin = manager.registry.load(*dump.converted_from); !plugin) return plugin.error();
  }
  std::vector<plugin::Plugin *> plugins;
  for (const auto &disk : record.disks) {
    VBD_TRY_ASSIGN(auto plugin, manager.registry.load(disk.filetype));
    plugins.push_back(plugin);
  }
  return plugins;
}

/// The bytes that a dump stores; of one that is packed, unpacked: found without unpacking it.
Result<std::uint64_t> stored_in(const Manager &manager, const ImportPlan &plan, const Dump &dump) {
  if (dump.converted_from) {
    VBD_TRY_ASSIGN(auto image, open_converted(manager, plan.source.path, dump));
    return stored_bytes(*image_source(*image));
  }
  Result<void> failed;
  const auto source = source_of(dump, failed);
  if (!source) return failed.error();
  return stored_bytes(*source);
}

/// Before the first byte is written. A small file may hold a large disk; only when it may not fit it is
/// looked at more closely. An image that is taken as it is may come without a copy.
Result<void> check_room(const Manager &manager, const instance::Site &site, const ImportPlan &plan) {
  auto filesystem = sys::filesystem_info(site.directory.get());
  if (!filesystem) return filesystem.error().at(site.path);
  std::uint64_t most = 0, least = 0;
  std::vector<const Dump *> dumps;
  for (const auto &dump : plan.dumps) {
    if (dump.name.empty() || takes_file(dump)) continue;
    dumps.push_back(&dump);
    const std::uint64_t length = dump.converted_from ? dump.size : dump.length;
    most = length > UINT64_MAX - most ? UINT64_MAX : most + length;
  }
  if (most <= filesystem->free_bytes) return {};
  for (const Dump *dump : dumps) {
    auto stored = stored_in(manager, plan, *dump);
    if (!stored) return stored.error().at(plan.source.path);
    least += *stored;
  }
  if (least <= filesystem->free_bytes) return {};
  return Error(sys::kNoSpace,
               cat(site.path, ": the dumps hold ", format_size(least), ", and its filesystem has ",
                   format_size(filesystem->free_bytes), " free; nothing was written"),
               "make room, or give another path in -t");
}

Result<void> fill(const Manager &manager, const instance::Site &site, const InstanceRecord &record,
                  const ImportPlan &plan, const Watch &watch) {
  if (plan.definition) return fill_by_scripts(manager, site, record, plan, watch);
  VBD_TRY_ASSIGN(auto plugins, load_plugins(manager, record, plan));
  VBD_TRY(check_room(manager, site, plan));
  auto done = in_parallel(plan.dumps.size(), watch, [&](std::size_t i, const Watch &part) {
    const Dump &dump = plan.dumps[i];
    if (dump.name.empty()) return Result<void>();
    if (takes_file(dump)) return bring_image(manager, site, record, dump, part);
    const std::string path = instance::logical_id(record, record.disks[i]).path;
    return fill_raw(manager, *plugins[i], plan, path, dump, part);
  });
  for (std::size_t i = 0; i < plan.dumps.size() && done; ++i) {
    if (takes_file(plan.dumps[i])) done = check_brought(manager, record, plan.dumps[i]);
  }
  return done ? done : Result<void>(done.error().at(plan.source.path));
}

}  // namespace

Result<instance::FromOutside> import_instance(const Manager &manager, const ImportSpec &spec, bool dry_run,
                                              const Watch &watch) {
  VBD_TRY_ASSIGN(auto plan, plan_import(manager, spec));
  const instance::Fill filling = [&](const instance::Site &site, const InstanceRecord &record) {
    return fill(manager, site, record, plan, watch);
  };
  auto lines = instance::add(manager, plan.add, dry_run, filling);
  if (!lines && lines.error().is(instance::kMacInUse) && spec.add.nics.empty())
    return lines.error().with_hint("--mac generate makes new addresses");
  if (!lines) return lines.error();
  lines->insert(lines->end(), plan.lines.begin(), plan.lines.end());
  return instance::FromOutside{*std::move(lines), std::move(plan.brought)};
}

}  // namespace vbd::backup
