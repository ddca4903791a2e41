// SPDX-License-Identifier: MIT
// import: an add whose disks are filled before the instance appears. What a killed run leaves is an
// interrupted add, which the next command undoes.
#include "core/base/log.hpp"
#include "core/base/text.hpp"
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

/// Into an image that is empty so far and whose bytes are the guest's.
Result<void> fill_flat(const config::Settings &settings, const std::string &path, const Dump &dump,
                       const Watch &watch) {
  auto file =
      sys::open_image_below(path, sys::resolve_allowed(settings.allowed_dirs), sys::Access::read_write);
  if (!file) return file.error();
  if (auto locked = sys::lock_image(file->get(), sys::ImageLockMode::exclusive, path); !locked) return locked;
  Result<void> failed;
  const auto source = source_of(dump, failed);
  if (!source) return failed;
  const auto sink = file_sink(file->get(), dump.size);
  auto moved = transfer(*source, *sink, watch);
  if (!moved) return moved.error();
  if (auto good = check_digest(dump, *moved); !good) return good;
  return sys::sync_fd(file->get());
}

Result<void> fill(const Manager &manager, const InstanceRecord &record, const Dump &dump,
                  const Watch &watch) {
  if (dump.name.empty()) return {};
  const std::string path = instance::logical_id(record, record.disks[dump.index]).path;
  return fill_flat(manager.settings, path, dump, watch);
}

}  // namespace

Result<Plan> import_instance(const Manager &manager, const ImportSpec &spec, bool dry_run,
                             const Watch &watch) {
  auto plan = plan_import(manager, spec);
  if (!plan) return plan.error();
  const instance::Fill filling = [&](const instance::Site &, const InstanceRecord &record) {
    return in_parallel(plan->dumps.size(), watch, [&](std::size_t i, const Watch &part) {
      Result<void> done = fill(manager, record, plan->dumps[i], part);
      return done ? done : Result<void>(done.error().at(plan->source.path));
    });
  };
  auto lines = instance::add(manager, plan->add, dry_run, filling);
  if (!lines) return lines.error();
  lines->insert(lines->end(), plan->lines.begin(), plan->lines.end());
  return lines;
}

}  // namespace vbd::backup
