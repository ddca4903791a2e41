// SPDX-License-Identifier: MIT
// The disks of an export: what each dump is going to be, and its writing, from the image itself. Private to
// this room.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "manager/backup/backup.hpp"

namespace vbd::backup {

/// One disk of an export, as planned. Refers to the record that it was planned from.
struct Job {
  const DiskRecord *disk = nullptr;
  std::string path;  ///< of the image
  Content content = Content::raw;
  Constant filetype;  ///< of an image that is written
  bool zstd = false;
  std::string dump;  ///< its name in the export
  std::unique_ptr<image::OpenImage> image;
  std::optional<Moved> moved;
};
[[nodiscard]] std::vector<Job> plan_jobs(const InstanceRecord &record, const ExportSpec &spec);

/// What a dry run says of it.
[[nodiscard]] std::string line_of(const Job &job, const std::string &directory, const std::string &os);

/// The image open, and kept from changing as long as it is; with --live a snapshot of one that is in use.
[[nodiscard]] Result<void> open_image(const Manager &manager, const InstanceRecord &record,
                                      const ExportSpec &spec, Job &job);

/// The dump, under its own name, when it is whole. The image is open.
[[nodiscard]] Result<void> write_dump(const Manager &manager, const NewExport &made, const Watch &watch,
                                      Job &job);

/// The same from what `fill` puts into a sink: a script's dump.
using FillSink = std::function<Result<Moved>(Sink &sink)>;
[[nodiscard]] Result<void> write_filled(const NewExport &made, Job &job, const FillSink &fill);

}  // namespace vbd::backup
