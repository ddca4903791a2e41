// SPDX-License-Identifier: MIT
#include "manager/backup/import_plan.hpp"

#include <algorithm>

#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/files.hpp"
#include "core/sys/take_file.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::backup {
namespace {

using text::cat;

/// A regular file of the export, no link, opened once: what is looked at is what is used.
Result<sys::Fd> open_dump(const Export &source, const std::string &name) {
  const std::string path = cat(source.path, "/", name);
  auto file = sys::open_regular_at(source.directory.get(), name, path, sys::Access::read);
  if (file) return file;
  const Error &error = file.error();
  if (error.is(sys::kNotFound))
    return Error(kDamaged, cat(path, ": missing, though ", kDescriptionFile, " names it"));
  if (error.is(sys::kSymlink) || error.is(sys::kNotRegular))
    return Error(kDamaged, cat(path, ": not a regular file"));
  return error;
}

/// An option of one kind of plugin, for the words of --disk.
void add_options(instance::DiskSpec &disk, const TextMap &options, std::string_view prefix) {
  for (const auto &[key, value] : options) disk.options.emplace(cat(prefix, key), value);
}

/// Where -t or --disk name another plugin, the options of the exported one mean nothing.
bool keeps(const std::optional<std::string> &wanted, const std::optional<std::string> &of_all,
           const Constant &exported, PluginKind kind) {
  const auto &word = wanted ? wanted : of_all;
  if (!word) return true;
  auto constant = Constant::parse(*word, kind);
  return constant && *constant == exported;
}

instance::DiskSpec disk_spec(const ImportSpec &spec, const ExportedDisk &exported, std::size_t index) {
  instance::DiskSpec disk;
  const auto given = std::find_if(spec.add.disks.begin(), spec.add.disks.end(),
                                  [&](const auto &one) { return one.index == index; });
  if (given != spec.add.disks.end()) disk = *given;
  disk.index = index;
  if (!exported.own) {
    if (!disk.size) disk.size = exported.mib << 20;
    return disk;
  }
  const OwnDisk &own = *exported.own;
  if (!disk.size) disk.size = own.size;
  if (!disk.mode) disk.mode = own.mode == DiskMode::ro ? "ro" : "rw";
  if (keeps(disk.driver, spec.add.driver, own.driver, PluginKind::driver)) {
    disk.driver = own.driver.str();
    add_options(disk, own.driver_options, "driver.");
  }
  if (keeps(disk.filetype, spec.add.filetype, own.filetype, PluginKind::filetype)) {
    disk.filetype = own.filetype.str();
    add_options(disk, own.filetype_options, "filetype.");
  }
  if (parse_disk_name(own.file)) disk.file = own.file;
  return disk;
}

/// Two disks of one name can't be: then they are called by their numbers.
void check_file_names(std::vector<instance::DiskSpec> &disks) {
  for (std::size_t i = 0; i < disks.size(); ++i) {
    const auto same = [&](const auto &other) {
      return (other.file.empty() ? disk_name(other.index) : other.file) ==
             (disks[i].file.empty() ? disk_name(i) : disks[i].file);
    };
    if (std::count_if(disks.begin(), disks.end(), same) < 2) continue;
    for (auto &disk : disks) disk.file.clear();
    return;
  }
}

Result<void> plan_disks(const ImportSpec &spec, const Description &from, ImportPlan &plan) {
  for (const auto &disk : spec.add.disks) {
    if (disk.index >= from.disks.size()) {
      return Error(kBackupUsage,
                   cat("--disk ", disk.index, ": the export has ", from.disks.size(), " disks"));
    }
  }
  plan.add.disks.clear();
  for (std::size_t i = 0; i < from.disks.size(); ++i)
    plan.add.disks.push_back(disk_spec(spec, from.disks[i], i));
  check_file_names(plan.add.disks);
  return {};
}

void plan_nics(const ImportSpec &spec, const hypervisor::Outside &outside, const Description &from,
               ImportPlan &plan) {
  if (spec.no_nics || !spec.add.nics.empty()) return;  // as given
  const auto taken = outside.take(from.nics);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    instance::NicSpec nic{i, taken[i]};
    if (spec.new_macs) nic.nic.mac.clear();
    plan.add.nics.push_back(std::move(nic));
  }
}

/// What the configured hypervisor's profile has and lets in; what was given wins.
Result<void> plan_parameters(const Manager &manager, const ImportSpec &spec, const Description &from,
                             ImportPlan &plan) {
  VBD_TRY_ASSIGN(auto profile, hypervisor::load_profile(manager.settings.hypervisor, manager.profile_dirs));
  const hypervisor::Outside outside{profile, spec.trust, plan.brought};
  TextMap backend = from.backend;
  if (!from.ours) {
    if (from.memory != 0) backend["memory"] = std::to_string(from.memory);
    if (from.vcpus != 0) backend["vcpus"] = std::to_string(from.vcpus);
  }
  plan.add.backend = outside.take("-B", backend, std::move(plan.add.backend));
  plan.add.hypervisor = outside.take("-H", from.hypervisor_parameters, std::move(plan.add.hypervisor));
  plan_nics(spec, outside, from, plan);
  if (from.os.empty()) return {};  // parameters of no definition mean nothing
  plan.add.os_parameters = outside.take_os(from.os_parameters, std::move(plan.add.os_parameters));
  return {};
}

Content content_of(const ImportSpec &spec, const Description &from, const ExportedDisk &disk) {
  if (disk.own && disk.own->content != Content::script) return disk.own->content;
  if (spec.raw || (!disk.own && (from.os.empty() || from.os == kRawOs))) return Content::raw;
  return Content::script;
}

/// Of the right length, and fitting into the disk.
Result<void> check_length(const Export &source, const ExportedDisk &disk, std::uint64_t file_size,
                          Dump &dump) {
  const std::string path = cat(source.path, "/", dump.name);
  if (!dump.zstd && disk.own && file_size != dump.length) {
    return Error(kDamaged, cat(path, ": has ", file_size, " bytes, the export says ", dump.length));
  }
  if (dump.content != Content::raw) return {};
  const std::uint64_t least = disk.own ? disk.own->size : disk.mib << 20;
  if (dump.length < least) {
    return Error(kDamaged, cat(path, ": has ", dump.length, " bytes, the disk ", least, ": it is cut short"));
  }
  if (dump.length % kSectorSize != 0)
    return Error(kDamaged, cat(path, ": ", dump.length, " bytes are no whole number of sectors"));
  return {};
}

/// An image is taken as it is, or becomes another one.
Result<void> plan_image(const ImportSpec &spec, const ExportedDisk &disk, instance::DiskSpec &into,
                        Dump &dump) {
  VBD_TRY_ASSIGN(auto filetype,
                 Constant::parse(into.filetype.value_or(spec.add.filetype.value_or(disk.own->filetype.str())),
                                 PluginKind::filetype));
  if (dump.size < disk.own->size) {
    return Error(kBackupUsage, cat("--disk ", dump.index, ": ", dump.size, " bytes are too few for ",
                                   dump.name, ", a disk of ", disk.own->size));
  }
  if (filetype == disk.own->image_filetype && dump.size == disk.own->size) {
    into.brought = true;
  } else {
    dump.converted_from = disk.own->image_filetype;
  }
  return {};
}

Result<Dump> plan_dump(const ImportSpec &spec, const Export &source, std::size_t index,
                       instance::DiskSpec &into) {
  const ExportedDisk &disk = source.description.disks[index];
  Dump dump;
  dump.index = index;
  dump.size = *into.size;
  dump.name = disk.dump;
  if (dump.name.empty()) return dump;
  auto file = open_dump(source, disk.dump);
  if (!file) return file.error();
  VBD_TRY_ASSIGN(auto info, sys::file_info(file->get()));
  dump.file = *std::move(file);
  dump.content = content_of(spec, source.description, disk);
  dump.zstd = source.description.compression == Compression::zstd && dump.content != Content::image;
  dump.length = disk.own ? disk.own->length : info.size;
  dump.digest = disk.own ? disk.own->digest : "";
  VBD_TRY(check_length(source, disk, info.size, dump));
  if (dump.content == Content::script) return dump;
  if (dump.content == Content::image) {
    VBD_TRY(plan_image(spec, disk, into, dump));
    return dump;
  }
  if (dump.length <= dump.size) return dump;
  // Ganeti's volumes may be larger than their size says.
  const bool given = std::any_of(spec.add.disks.begin(), spec.add.disks.end(),
                                 [&](const auto &one) { return one.index == index && one.size; });
  if (given) {
    return Error(kBackupUsage,
                 cat("--disk ", index, ": ", dump.size, " bytes are too few for a dump of ", dump.length));
  }
  into.size = dump.size = dump.length;
  return dump;
}

std::string line_of(const Export &source, const Dump &dump) {
  const char *what = dump.converted_from               ? "an image of another filetype or size"
                     : dump.content == Content::image  ? "as the image"
                     : dump.content == Content::script ? "through the import script"
                                                       : "as its bytes";
  return cat("fill disk ", dump.index, " from ", source.path, "/", dump.name, ", ", what);
}

/// The definition whose import script reads the dumps, when there is such a dump.
Result<void> plan_script(const Manager &manager, ImportPlan &plan) {
  const auto scripted = std::find_if(plan.dumps.begin(), plan.dumps.end(), [](const Dump &dump) {
    return !dump.name.empty() && dump.content == Content::script;
  });
  if (scripted == plan.dumps.end()) return {};
  VBD_TRY_ASSIGN(auto name, os::parse_os_name(plan.add.os));
  auto definition = os::find_definition(manager.settings, name.name);
  Result<void> good = definition ? os::check_variant(*definition, name) : definition.error();
  if (good) good = os::check_parameter_names(*definition, plan.add.os_parameters);
  if (!good) {
    return Error(kNeedsOs,
                 cat(plan.source.path, "/", scripted->name, ": was written by the export script of ",
                     plan.add.os, ", and only its import script can read it: ", good.error().message()),
                 "install that definition; --raw where its dumps are the disks' bytes");
  }
  plan.lines.push_back(cat("run ", definition->script("import"), " on the attached disks"));
  if (plan.add.name != plan.source.description.name) {
    plan.lines.push_back(cat("run ", definition->script("rename"), ", for it was called ",
                             text::printable(plan.source.description.name)));
  }
  plan.definition = *std::move(definition);
  plan.add.fill_script = "import";
  return {};
}

}  // namespace

Result<ImportPlan> plan_import(const Manager &manager, const ImportSpec &spec) {
  ImportPlan plan;
  auto source = open_export(manager.settings, spec.source.empty() ? spec.add.name : spec.source);
  if (!source) return source.error();
  plan.source = *std::move(source);
  plan.add = spec.add;
  const Description &from = plan.source.description;
  plan.add.os = from.os;
  plan.add.no_install = true;  // the dumps are what is installed
  VBD_TRY(plan_disks(spec, from, plan));
  VBD_TRY(plan_parameters(manager, spec, from, plan));
  for (std::size_t i = 0; i < from.disks.size(); ++i) {
    auto dump = plan_dump(spec, plan.source, i, plan.add.disks[i]);
    if (!dump) return dump.error();
    if (!dump->name.empty()) plan.lines.push_back(line_of(plan.source, *dump));
    plan.dumps.push_back(*std::move(dump));
  }
  VBD_TRY(plan_script(manager, plan));
  return plan;
}

}  // namespace vbd::backup
