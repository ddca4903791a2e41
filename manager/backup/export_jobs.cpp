// SPDX-License-Identifier: MIT
#include "manager/backup/export_jobs.hpp"

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/image/copy.hpp"
#include "core/sys/bulk.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/move.hpp"
#include "core/sys/take_file.hpp"
#include "manager/instance/site.hpp"

namespace vbd::backup {
namespace {

using text::cat;

std::string dump_name(const Job &job) {
  if (job.content == Content::image)
    return cat(job.disk->file, ".", text::lower(job.filetype.str().substr(3)));
  const char *ending = job.content == Content::script ? "dump" : "raw";
  return cat(job.disk->file, ".", ending, job.zstd ? ".zst" : "");
}

/// Debian's "noop" dumps the disk's bytes: that is done without its script, and holes stay holes.
Content content_of(const InstanceRecord &record, const ExportSpec &spec) {
  if (spec.images) return Content::image;
  const bool scripts = !record.os.empty() && record.os != kRawOs && !spec.raw;
  return scripts ? Content::script : Content::raw;
}

/// What the image holds now, its blocks shared: goes with its descriptor.
Result<sys::Fd> snapshot_of(const Manager &manager, int image, const InstanceRecord &record, const Job &job) {
  const Error cannot(kCannotSnapshot,
                     cat(job.path, ": in use, and its filesystem can't make a snapshot of a file"),
                     "stop the instance first; xfs and btrfs share blocks of files (reflink)");
  VBD_TRY_ASSIGN(auto directory,
                 sys::open_dir_below(record.directory, sys::resolve_allowed(manager.settings.allowed_dirs)));
  auto snapshot = sys::open_nameless(directory.get());
  if (!snapshot) return snapshot.error().at(record.directory);
  if (!*snapshot) return cannot;
  auto cloned = sys::clone_whole(image, snapshot->get());
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
  if (!unused) return snapshot_of(manager, file->get(), record, job);
  VBD_TRY(sys::lock_image(file->get(), sys::ImageLockMode::stable, job.path));
  return file;
}

/// Blocks are shared where the filesystem can; then the file is only read, for its digest.
Result<Moved> move_file(const Job &job, int to, const Watch &watch) {
  VBD_TRY_ASSIGN(auto cloned, sys::clone_whole(job.image->fd(), to));
  auto source = file_source(cloned ? to : job.image->fd());  // the digest is of what is kept
  if (!source) return source.error();
  const auto sink = cloned ? no_sink() : file_sink(to);
  return transfer(**source, *sink, watch);
}

/// As an image of another filetype; then it is read once more, for its digest.
Result<Moved> convert(const Manager &manager, const NewExport &made, const Watch &watch, const Job &job) {
  const std::string path = cat(made.path(), "/", job.dump);
  const image::CopySpec spec{{job.filetype, {}, job.disk->size, true, {}}, false};
  VBD_TRY(image::copy(manager.registry, *job.image, made.directory(), job.dump, path, spec, watch));
  VBD_TRY_ASSIGN(auto file, sys::open_regular_at(made.directory(), job.dump, path, sys::Access::read));
  VBD_TRY_ASSIGN(auto source, file_source(file.get()));
  const auto sink = no_sink();
  return transfer(*source, *sink, watch);
}

}  // namespace

std::vector<Job> plan_jobs(const InstanceRecord &record, const ExportSpec &spec) {
  std::vector<Job> jobs;
  for (const auto &disk : record.disks) {
    Job job{&disk,
            instance::logical_id(record, disk).path,
            content_of(record, spec),
            disk.filetype,
            spec.zstd,
            {},
            {},
            {}};
    if (spec.filetype) job.filetype = *spec.filetype;
    job.dump = dump_name(job);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

std::string line_of(const Job &job, const std::string &directory, const std::string &os) {
  std::string what;
  if (job.content == Content::script) {
    what = cat("what the export script of ", os, " writes of ", job.path);
  } else if (job.content == Content::raw) {
    what = cat("the bytes of ", job.path);
  } else if (job.filetype == job.disk->filetype) {
    what = cat("the image ", job.path);
  } else {
    what = cat(job.filetype.str(), " image of ", job.path);
  }
  return cat("write ", directory, "/", job.dump, ": ", what, " (", job.disk->filetype.str(), ", ",
             format_size(job.disk->size), ")");
}

Result<void> open_image(const Manager &manager, const InstanceRecord &record, const ExportSpec &spec,
                        Job &job) {
  VBD_TRY_ASSIGN(auto file, open_source(manager, record, spec, job));
  auto image = image::OpenImage::open(manager.registry, manager.settings, job.disk->filetype, std::move(file),
                                      job.path);
  if (!image) return image.error();
  VBD_TRY(image::check_recorded(record, job.path, (*image)->size()));
  if ((*image)->size() != job.disk->size) {
    return Error(kDamaged,
                 cat(job.path, ": has ", (*image)->size(), " bytes, the catalog says ", job.disk->size),
                 cat("'vbd instance modify ", record.name, "' with --disk N:size=actual notes it"));
  }
  job.image = *std::move(image);
  return {};
}

namespace {

/// The dump gets its name when `fill` has written all of it.
Result<void> write_file(const NewExport &made, Job &job, const std::function<Result<Moved>(int fd)> &fill) {
  VBD_TRY_ASSIGN(auto file, sys::TempFile::create(made.directory(), job.dump));
  auto moved = fill(file.fd());
  if (!moved) return moved.error();
  job.moved = *std::move(moved);
  auto published = std::move(file).publish_new();
  return published ? Result<void>() : published.error().at(job.dump);
}

}  // namespace

Result<void> write_filled(const NewExport &made, Job &job, const FillSink &fill) {
  return write_file(made, job, [&](int fd) {
    const auto sink = job.zstd ? zstd_sink(fd) : file_sink(fd);
    return fill(*sink);
  });
}

Result<void> write_dump(const Manager &manager, const NewExport &made, const Watch &watch, Job &job) {
  if (job.content != Content::image) {
    return write_filled(made, job, [&](Sink &sink) -> Result<Moved> {
      const auto source = image_source(*job.image);
      auto moved = transfer(*source, sink, watch);
      return moved ? moved : moved.error().at(job.dump);
    });
  }
  if (job.filetype != job.disk->filetype) {
    auto moved = convert(manager, made, watch, job);
    if (!moved) return moved.error().at(job.dump);
    job.moved = *std::move(moved);
    return {};
  }
  return write_file(made, job, [&](int fd) -> Result<Moved> {
    auto moved = move_file(job, fd, watch);
    return moved ? moved : moved.error().at(job.dump);
  });
}

}  // namespace vbd::backup
