// SPDX-License-Identifier: MIT
#include <algorithm>

#include "core/base/text.hpp"
#include "core/config/settings.hpp"
#include "manager/instance/add_plan.hpp"

namespace vbd::instance {
namespace {

using plugin::OptionInfo;
using text::cat;

constexpr std::string_view kDriverPrefix = "driver.", kFiletypePrefix = "filetype.";

const OptionInfo *find_option(const std::vector<OptionInfo> &table, const std::string &name) {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const OptionInfo &o) { return o.name == name; });
  return found == table.end() ? nullptr : &*found;
}

/// Sorts one disk's options into the two tables.
class Splitter {
 public:
  Splitter(const plugin::Plugin &driver, const plugin::Plugin &filetype, const LogicalId &id, bool reuse)
      : driver_(driver), filetype_(filetype), id_(id), reuse_(reuse) {}

  /// False when neither plugin has it.
  Result<bool> take(const std::string &key, const std::string &value, const std::string &where) {
    if (key.starts_with(kDriverPrefix))
      return take_named(driver_, id_.driver, key.substr(kDriverPrefix.size()), value, where, out_.driver);
    if (key.starts_with(kFiletypePrefix)) {
      return take_named(filetype_, id_.filetype, key.substr(kFiletypePrefix.size()), value, where,
                        out_.filetype);
    }
    const bool in_driver = find_option(driver_.options(), key) != nullptr;
    const bool in_filetype = find_option(filetype_.options(), key) != nullptr;
    if (in_driver && in_filetype) {
      return Error(
          kAmbiguousOption,
          cat(where, ": both ", id_.driver.str(), " and ", id_.filetype.str(), " have an option '", key, "'"),
          cat("write driver.", key, "= or filetype.", key, "="));
    }
    if (in_driver) return take_named(driver_, id_.driver, key, value, where, out_.driver);
    if (in_filetype) return take_named(filetype_, id_.filetype, key, value, where, out_.filetype);
    return false;
  }

  [[nodiscard]] Error unknown(const std::string &key, const std::string &where) const {
    std::vector<std::string> names;
    for (const auto *plugin : {&driver_, &filetype_}) {
      for (const auto &option : plugin->options()) {
        if (option.per_image) names.push_back(option.name);
      }
    }
    for (const char *word : {"size", "mode", "path", "reuse", "adopt"}) names.emplace_back(word);
    const std::string near = text::did_you_mean(key, names);
    return Error(
        plugin::kUnknownOption,
        cat(where, ": neither ", id_.driver.str(), " nor ", id_.filetype.str(), " has an option '",
            text::printable(key), "'"),
        near.empty() ? cat("vbd plugin show ", id_.driver.str()) : cat("did you mean '", near, "'?"));
  }

  SplitOptions result() { return std::move(out_); }

 private:
  Result<bool> take_named(const plugin::Plugin &plugin, const Constant &constant, const std::string &name,
                          const std::string &value, const std::string &where, plugin::Values &to) const {
    const std::string here = cat(where, ": ", constant.str());
    VBD_TRY_ASSIGN(auto checked, plugin::check_named(plugin.options(), name, value, here));
    const auto *option = find_option(plugin.options(), name);
    if (!option->per_image) {
      return Error(plugin::kBadOption, cat(here, ": '", name, "' is not an option of a single disk"),
                   cat("set it in the configuration: plugins: {", constant.str(), ": {", name, ": ...}}"));
    }
    if (option->create_only && reuse_) {
      return Error(plugin::kBadOption,
                   cat(here, ": '", name, "' counts when an image is created, and none is here"));
    }
    to[name] = checked;
    return true;
  }

  const plugin::Plugin &driver_, &filetype_;
  const LogicalId &id_;
  bool reuse_;
  SplitOptions out_;
};

Result<void> check_numbers(const AddSpec &spec) {
  std::set<std::size_t> seen;
  for (const auto &disk : spec.disks) {
    if (!seen.insert(disk.index).second) return Error(kGrammar, cat("--disk ", disk.index, ": stands twice"));
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (!seen.contains(i)) {
      return Error(kGrammar, cat("--disk ", *seen.rbegin(), ": there is no disk ", i),
                   "number the disks 0, 1, 2, ...");
    }
  }
  if (spec.disks.empty() && !spec.reuse) {
    return Error(kGrammar, cat("instance ", spec.name, ": no disk"), "give --disk 0:size=5G, or reuse in -t");
  }
  for (const auto &disk : spec.disks) {
    if (disk.adopt && spec.reuse) {
      return Error(kGrammar, cat("--disk ", disk.index, ": adopt and reuse exclude each other"),
                   "adopt names each image, reuse takes those of the directory");
    }
    if (!disk.size && !spec.reuse && !disk.adopt)
      return Error(kGrammar, cat("--disk ", disk.index, ": no size"), "write size=5G");
  }
  return {};
}

/// One disk whose file and size are known.
Result<PlannedDisk> plan_disk(const Manager &manager, const AddSpec &spec, const DiskSpec *disk,
                              const std::string &path, const ReusedFile &file, std::set<std::string> &taken) {
  VBD_TRY_ASSIGN(auto driver, driver_of(manager, spec, disk));
  VBD_TRY_ASSIGN(auto filetype, filetype_of(manager, spec, disk));
  const LogicalId id{driver, filetype, cat(path, "/", file.name)};
  VBD_TRY(check_image_path(id.path));
  VBD_TRY(manager.registry.check_pairing(id));
  VBD_TRY_ASSIGN(auto options, split_options(manager.registry, id, spec, disk, taken));
  const DiskMode mode = disk != nullptr && disk->mode == "ro" ? DiskMode::ro : DiskMode::rw;
  const bool taken_over = spec.reuse || (disk != nullptr && disk->adopt);
  return PlannedDisk{DiskRecord{driver, filetype, file.name, file.size, file.name, mode, !taken_over,
                                options.driver, options.filetype},
                     {},
                     false,
                     {}};
}

Result<void> plan_create(const Manager &manager, PlannedDisk &disk, const std::string &where) {
  VBD_TRY_ASSIGN(auto ownership, config::image_ownership(manager.settings));
  image::CreateSpec create{disk.record.filetype, disk.record.filetype_options, disk.record.size, true,
                           ownership};
  VBD_TRY(image::check_create(manager.registry, create, where));
  disk.create = std::move(create);
  return {};
}

/// The size is the image's; one that was given must be the same.
Result<void> plan_adoption(const Manager &manager, PlannedDisk &disk, const DiskSpec &given,
                           const std::string &path) {
  VBD_TRY_ASSIGN(auto adoption,
                 check_adoptable(manager, {disk.record.driver, disk.record.filetype, *given.adopt},
                                 cat(path, "/", disk.record.file)));
  if (given.size && *given.size != adoption.size) {
    return Error(kAdopt, cat(adoption.source, ": its size is ", adoption.size, " bytes, --disk ", given.index,
                             " says ", *given.size));
  }
  disk.record.size = adoption.size;
  disk.adopt = std::move(adoption);
  return {};
}

Result<void> check_all_taken(const Manager &manager, const AddSpec &spec,
                             const std::vector<PlannedDisk> &disks, const std::set<std::string> &taken,
                             const std::string &path) {
  for (const auto &[key, value] : spec.options) {
    if (taken.contains(key)) continue;
    const auto &first = disks.front().record;
    VBD_TRY_ASSIGN(auto driver, manager.registry.load(first.driver));
    VBD_TRY_ASSIGN(auto filetype, manager.registry.load(first.filetype));
    return Splitter(*driver, *filetype, {first.driver, first.filetype, path}, spec.reuse).unknown(key, "-t");
  }
  return {};
}

}  // namespace

const DiskSpec *find_disk(const AddSpec &spec, std::size_t index) {
  const auto found =
      std::find_if(spec.disks.begin(), spec.disks.end(), [&](const DiskSpec &d) { return d.index == index; });
  return found == spec.disks.end() ? nullptr : &*found;
}

Result<Constant> driver_of(const Manager &manager, const AddSpec &spec, const DiskSpec *disk) {
  if (disk != nullptr && disk->driver) return Constant::parse(*disk->driver, PluginKind::driver);
  return Constant::parse(spec.driver.value_or(manager.settings.default_driver), PluginKind::driver);
}

Result<Constant> filetype_of(const Manager &manager, const AddSpec &spec, const DiskSpec *disk) {
  if (disk != nullptr && disk->filetype) return Constant::parse(*disk->filetype, PluginKind::filetype);
  return Constant::parse(spec.filetype.value_or(manager.settings.default_filetype), PluginKind::filetype);
}

Result<SplitOptions> split_options(plugin::Registry &registry, const LogicalId &id, const AddSpec &spec,
                                   const DiskSpec *disk, std::set<std::string> &taken) {
  VBD_TRY_ASSIGN(auto driver, registry.load(id.driver));
  VBD_TRY_ASSIGN(auto filetype, registry.load(id.filetype));
  Splitter splitter(*driver, *filetype, id, spec.reuse || (disk != nullptr && disk->adopt));
  for (const auto &[key, value] : spec.options) {
    VBD_TRY_ASSIGN(auto took, splitter.take(key, value, "-t"));
    if (took) taken.insert(key);
  }
  if (disk != nullptr) {
    const std::string where = cat("--disk ", disk->index);
    for (const auto &[key, value] : disk->options) {
      VBD_TRY_ASSIGN(auto took, splitter.take(key, value, where));
      if (!took) return splitter.unknown(key, where);
    }
  }
  return splitter.result();
}

Result<std::vector<PlannedDisk>> plan_disks(const Manager &manager, const AddSpec &spec,
                                            const std::string &path, int directory,
                                            const std::set<std::string> &ignored) {
  VBD_TRY(check_numbers(spec));
  std::vector<ReusedFile> files;
  if (spec.reuse) {
    VBD_TRY_ASSIGN(auto found, check_reuse(manager, spec, path, directory, ignored));
    files = std::move(found);
  } else {
    for (std::size_t i = 0; i < spec.disks.size(); ++i) {
      const DiskSpec &disk = *find_disk(spec, i);
      files.push_back({disk.file.empty() ? disk_name(i) : disk.file, disk.size.value_or(0)});
    }
  }
  std::vector<PlannedDisk> disks;
  std::set<std::string> taken;
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto disk = plan_disk(manager, spec, find_disk(spec, i), path, files[i], taken);
    if (!disk) return disk.error();
    const DiskSpec *wanted = find_disk(spec, i);
    disk->brought = wanted != nullptr && wanted->brought;
    if (wanted != nullptr && wanted->adopt) {
      if (auto planned = plan_adoption(manager, *disk, *wanted, path); !planned) return planned.error();
    } else if (!spec.reuse && !disk->brought) {
      if (auto planned = plan_create(manager, *disk, cat("disk ", i)); !planned) return planned.error();
    }
    for (const auto &other : disks) {
      if (disk->adopt && other.adopt && other.adopt->source == disk->adopt->source)
        return Error(kGrammar, cat("--disk ", i, ": ", other.adopt->source, " is adopted twice"));
    }
    disks.push_back(std::move(*disk));
  }
  VBD_TRY(check_all_taken(manager, spec, disks, taken, path));
  return disks;
}

Result<PlannedDisk> plan_one_disk(const Manager &manager, const AddSpec &spec, const DiskSpec &disk,
                                  const std::string &path, const std::string &name) {
  std::set<std::string> taken;
  auto planned = plan_disk(manager, spec, &disk, path, {name, disk.size.value_or(0)}, taken);
  if (!planned) return planned;
  VBD_TRY(disk.adopt ? plan_adoption(manager, *planned, disk, path)
                     : plan_create(manager, *planned, cat("disk ", name)));
  return planned;
}

}  // namespace vbd::instance
