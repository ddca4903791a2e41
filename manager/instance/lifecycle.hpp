// SPDX-License-Identifier: MIT
// Adding and removing instances. Each verb makes a plan (a list of steps), which --dry-run prints and which
// is then done; a failure undoes what was done, and what a killed run left is finished or undone by the next
// verb.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/device/device.hpp"
#include "core/image/vet.hpp"
#include "core/sys/run.hpp"
#include "manager/hypervisor/outside.hpp"
#include "manager/instance/catalog.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kGrammar{"usage.disk_template", Exit::usage};
inline constexpr ErrorKind kAmbiguousOption{"option.ambiguous", Exit::usage};
inline constexpr ErrorKind kMacInUse{"instance.mac_in_use", Exit::busy};
inline constexpr ErrorKind kStillThere{"instance.still_there", Exit::busy};
inline constexpr ErrorKind kNoNode{"node.not_found", Exit::not_found};
inline constexpr ErrorKind kOtherNode{"node.other", Exit::refused};

struct Site;

struct Manager {
  const config::Settings &settings;
  plugin::Registry &registry;
  std::vector<std::string> profile_dirs;
  sys::Runner &runner;          ///< for programs that are not a driver's
  image::Vetting vetting = {};  ///< of images that come from outside, or were changed there
};

/// One --disk INDEX:KEY=VALUE,...
struct DiskSpec {
  std::size_t index = 0;
  std::optional<std::uint64_t> size;  ///< bytes
  std::optional<std::string> filetype, driver, mode;
  std::optional<std::string> adopt;            ///< full path of an image that is there
  std::map<std::string, std::string> options;  ///< others, "driver.X" and "filetype.X" included
  std::string file = {};                       ///< its file's name; "" sda, sdb, ... by the number
  bool brought = false;                        ///< the file is made by Fill, not created empty
};

/// One --net INDEX:KEY=VALUE,... ; no mac: one is made up.
struct NicSpec {
  std::size_t index = 0;
  NicRecord nic;
};

/// The words of the command line, split but not yet checked against the host.
struct AddSpec {
  std::string name;
  std::string path;  ///< "" FILE_STORAGE_DIR/NAME
  std::optional<std::string> driver, filetype;
  bool reuse = false;
  std::map<std::string, std::string> options;  ///< of -t: apply to every disk
  std::vector<DiskSpec> disks;
  std::vector<NicSpec> nics;
  std::string node, secondary;
  std::string os;
  std::map<std::string, std::string> backend, hypervisor, os_parameters;
  bool no_install = false, no_start = false;
  std::string fill_script = {};  ///< of the guest OS definition: what Fill runs, "" nothing
};
/// Images that are there become disks: a guest OS's create script never runs on them.
[[nodiscard]] bool takes_images(const AddSpec &spec);
/// "file:path=/p,driver=loop,reuse,..." ; kind before the colon must be "file".
[[nodiscard]] Result<void> parse_template(const std::string &text, AddSpec &spec);
/// "0:size=5G,mode=ro", "0:adopt=/p/disk.img"
[[nodiscard]] Result<DiskSpec> parse_disk(const std::string &text);
/// The words behind the colon: "size=5G,mode=ro". `where` begins the error.
[[nodiscard]] Result<void> parse_disk_words(const std::string &text, const std::string &where,
                                            DiskSpec &disk);

/// "0:mac=generate,mode=bridged,link=br0"
[[nodiscard]] Result<NicSpec> parse_net(const std::string &text);

/// An image that was put in its place, or is about to be used: kDamagedImage (image) unless the operator's
/// words allow it. For a repair it is opened for writing.
[[nodiscard]] Result<void> vet_image(const Manager &manager, const LogicalId &id);
/// What the operator's words mean for images that are taken, as a line of a plan; "" nothing.
[[nodiscard]] std::string vetting_line(const Manager &manager);

/// A plan for people: one line a step.
using Plan = std::vector<std::string>;

/// Of a verb that takes an instance from outside.
struct FromOutside {
  Plan plan;
  hypervisor::Brought brought;
};

/// Fills the disks of an instance that is being added, before it appears: an error undoes the add. Its
/// directory is locked, `record` lists all disks and has the operation in it.
using Fill = std::function<Result<void>(const Site &site, const InstanceRecord &record)>;

[[nodiscard]] Result<Plan> add(const Manager &manager, const AddSpec &spec, bool dry_run,
                               const Fill &fill = {});

struct RemoveSpec {
  std::string name;
  bool keep_files = false;
  bool assume_unused = false;
};
[[nodiscard]] Result<Plan> remove(const Manager &manager, const RemoveSpec &spec, bool dry_run);

struct ConfigFile {
  std::string text;
  std::vector<std::string> missing;  ///< names of disks that are not attached: stand_in() is in the text
};
/// The guest's config file for the configured hypervisor, of an instance that runs or not.
[[nodiscard]] Result<ConfigFile> config_file(const Manager &manager, const std::string &name);
/// What stands for a disk's device that does not exist yet.
[[nodiscard]] std::string stand_in(const std::string &disk);

struct VerifySpec {
  bool repair = false;  ///< what killed runs left; never forgets an instance
  bool rebuild =
      false;           ///< pointers are found again, of instances whose parameters name nothing of this host
  bool trust = false;  ///< and of all others
  std::vector<std::string> forget = {};  ///< names; kStillThere of one that is there and fine
};
/// Problems and leftovers.
struct Problem {
  std::string where, what;
  bool repaired = false;
};
[[nodiscard]] Result<std::vector<Problem>> verify(const Manager &manager, const VerifySpec &spec,
                                                  bool dry_run);

}  // namespace vbd::instance
