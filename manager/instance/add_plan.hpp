// SPDX-License-Identifier: MIT
// Everything of an add that can be found out before the first change. Reads only.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/image/image.hpp"
#include "manager/instance/adopt.hpp"
#include "manager/instance/catalog.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/os/definition.hpp"

namespace vbd::instance {

struct PlannedDisk {
  DiskRecord record;
  std::optional<image::CreateSpec> create;  ///< nothing: the file is there (reuse, adopt), or it is brought
  bool brought = false;
  std::optional<Adoption> adopt = {};

  /// Its file is this run's own, to be removed when it is undone.
  [[nodiscard]] bool made() const { return create.has_value() || brought; }
};

struct AddPlan {
  InstanceRecord record;  ///< as it will be, without an operation
  std::vector<PlannedDisk> disks;
  bool directory_exists = false;
  std::vector<std::string> interrupted;  ///< directories of a killed run of this name, to be settled first
  std::optional<os::Definition> definition;  ///< its create script is run
  std::string warning;                       ///< little space
  Plan lines;
};
[[nodiscard]] Result<AddPlan> plan_add(const Manager &manager, const AddSpec &spec);

/// The options of the template and of one disk, each where it belongs.
struct SplitOptions {
  plugin::Values driver, filetype;
};
/// "driver.NAME", "filetype.NAME", or NAME when only one of the two has it. Options of the template that
/// neither has are left for other disks: `taken` collects those that were used.
[[nodiscard]] Result<SplitOptions> split_options(plugin::Registry &registry, const LogicalId &id,
                                                 const AddSpec &spec, const DiskSpec *disk,
                                                 std::set<std::string> &taken);

/// The disks in the order of their numbers, complete and checked; with `reuse` from the files in `path`.
[[nodiscard]] Result<std::vector<PlannedDisk>> plan_disks(const Manager &manager, const AddSpec &spec,
                                                          const std::string &path, int directory,
                                                          const std::set<std::string> &ignored);

/// The network cards in the order of their numbers. kMacInUse when another instance of this host has one's
/// address.
[[nodiscard]] Result<std::vector<NicRecord>> plan_nics(const Manager &manager, const AddSpec &spec);

/// The files that `reuse` takes. Any that is not valid: kReuse, which lists each with its reason. `ignored`:
/// names that will be gone.
struct ReusedFile {
  std::string name;
  std::uint64_t size = 0;
};
[[nodiscard]] Result<std::vector<ReusedFile>> check_reuse(const Manager &manager, const AddSpec &spec,
                                                          const std::string &path, int directory,
                                                          const std::set<std::string> &ignored);

/// Writes down for this host where the images that are going to be moved come from, before the operation is
/// recorded; drop_witness() after it.
[[nodiscard]] Result<void> witness_adoptions(const Manager &manager, const InstanceRecord &record,
                                             const std::vector<PlannedDisk> &disks);

/// Creates or adopts; nothing for one that lies there already.
[[nodiscard]] Result<void> make_disk(const Manager &manager, const Site &site, const PlannedDisk &disk);

/// One disk more in `path`, as the file `name`: made, or adopted.
[[nodiscard]] Result<PlannedDisk> plan_one_disk(const Manager &manager, const AddSpec &spec,
                                                const DiskSpec &disk, const std::string &path,
                                                const std::string &name);
/// The virtual size of an image that nobody uses, whose content is of the declared filetype and safe.
[[nodiscard]] Result<std::uint64_t> check_takeable(const Manager &manager, const LogicalId &id,
                                                   const sys::FileId &file);

[[nodiscard]] Result<Constant> driver_of(const Manager &manager, const AddSpec &spec, const DiskSpec *disk);
[[nodiscard]] Result<Constant> filetype_of(const Manager &manager, const AddSpec &spec, const DiskSpec *disk);
/// --disk by number, or null.
[[nodiscard]] const DiskSpec *find_disk(const AddSpec &spec, std::size_t index);

}  // namespace vbd::instance
