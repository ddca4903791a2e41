// SPDX-License-Identifier: MIT
// vbd cluster
#include "cli/build_info.hpp"
#include "cli/cluster_init.hpp"
#include "cli/nouns.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "manager/backup/exports.hpp"
#include "manager/instance/space.hpp"
#include "manager/instance/storage.hpp"

namespace vbd::cli {
namespace cluster_file {
namespace {

struct Filesystem {
  std::string directory;
  std::optional<sys::FilesystemInfo> info;
  bool answers = true;
};

/// Five words, or none where there is no such directory: what a child answers.
std::string look_at(const std::string &directory) {
  const auto fd = sys::open_parent(directory + "/.");
  if (!fd) return {};
  const auto info = sys::filesystem_info(fd->get());
  if (!info) return {};
  return text::cat(info->free_bytes, " ", info->total_bytes, " ", int{info->shared}, " ",
                   int{info->read_only}, " ", info->type);
}

std::vector<Filesystem> filesystems(const config::Settings &settings) {
  const auto &directories = settings.allowed_dirs;
  const auto answers =
      instance::in_children(directories, [&](std::size_t i) { return look_at(directories[i]); });
  std::vector<Filesystem> list;
  for (std::size_t i = 0; i < directories.size(); ++i) {
    Filesystem found{directories[i], {}, answers[i].has_value()};
    const std::vector<std::string> words = text::split(answers[i].value_or(""), ' ');
    if (words.size() == 5) {
      found.info = {std::stoull(words[0]), std::stoull(words[1]), words[4], words[2] == "1", words[3] == "1"};
    }
    list.push_back(std::move(found));
  }
  return list;
}

struct Counts {
  std::uint64_t instances = 0, disks = 0, provisioned = 0;
};
Result<Counts> count(const config::Settings &settings) {
  VBD_TRY_ASSIGN(const auto entries, instance::Catalog(settings).list());
  Counts counts;
  for (const instance::Entry &entry : entries) {
    ++counts.instances;
    counts.disks += entry.record.disks.size();
    for (const DiskRecord &disk : entry.record.disks) counts.provisioned += disk.size;
  }
  return counts;
}

json::Value info_json(const config::Settings &settings, const std::vector<Filesystem> &list,
                      const Counts &counts) {
  json::Array array;
  for (const Filesystem &one : list) {
    json::Value value;
    value.set("directory", one.directory);
    value.set("exists", one.answers ? json::Value{one.info.has_value()} : json::Value{});
    const auto told = [&](auto member) {
      return one.info ? json::Value{(*one.info).*member} : json::Value{};
    };
    value.set("type", told(&sys::FilesystemInfo::type)).set("shared", told(&sys::FilesystemInfo::shared));
    value.set("read_only", told(&sys::FilesystemInfo::read_only));
    value.set("free", told(&sys::FilesystemInfo::free_bytes))
        .set("total", told(&sys::FilesystemInfo::total_bytes));
    array.push_back(std::move(value));
  }
  json::Value value;
  value.set("schema", "vbdkit.cluster/1")
      .set("version", kVersion)
      .set("abi", text::cat(VBD_ABI_MAJOR, ".", VBD_ABI_MINOR));
  value.set("node", settings.node).set("hypervisor", settings.hypervisor);
  value.set("file_storage_dir", settings.file_storage_dir)
      .set("state_dir", settings.state_dir)
      .set("run_dir", settings.run_dir);
  value.set("filesystems", std::move(array)).set("instances", counts.instances).set("disks", counts.disks);
  return value.set("provisioned", counts.provisioned);
}

std::string filesystem_text(const Filesystem &one) {
  if (!one.answers) return "does not answer";
  if (!one.info) return "does not exist";
  return text::cat(format_size(one.info->free_bytes), " free of ", format_size(one.info->total_bytes), ", ",
                   one.info->type, one.info->shared ? ", shared" : "",
                   one.info->read_only ? ", read-only" : "");
}

Result<Outcome> info(Session &session) {
  const config::Settings &settings = session.settings();
  VBD_TRY_ASSIGN(const auto counts, count(settings));
  const std::vector<Filesystem> list = filesystems(settings);
  if (session.json()) return Outcome{{}, info_json(settings, list, counts)};
  std::vector<std::pair<std::string, std::string>> pairs = {
      {"version", text::cat(kVersion, ", plugin ABI ", VBD_ABI_MAJOR, ".", VBD_ABI_MINOR)},
      {"node", settings.node},
      {"hypervisor", settings.hypervisor},
      {"file storage", settings.file_storage_dir},
      {"state", settings.state_dir},
      {"run", settings.run_dir},
      {"instances", std::to_string(counts.instances)},
      {"disks", text::cat(counts.disks, ", ", format_size(counts.provisioned), " promised")}};
  for (const Filesystem &one : list) pairs.emplace_back(text::printable(one.directory), filesystem_text(one));
  return Outcome{report::pairs_text(pairs), {}};
}

Result<Outcome> init(Session &session) {
  VBD_TRY_ASSIGN(const auto steps, init_cluster(session));
  std::string done;
  for (const std::string &step : steps) done += done.empty() ? step : "\n" + step;
  if (session.json() || session.dry_run()) return report::plan(session.json(), steps, session.dry_run(), "");
  return Outcome{steps.empty() ? "everything is there already\n" : done + "\n", {}};
}

Result<std::vector<instance::Problem>> find_problems(Session &session) {
  const bool repair = session.args().has("repair");
  const instance::VerifySpec spec{repair, session.args().has("rebuild"),
                                  session.args().has("trust-parameters"), session.args().values("forget")};
  auto problems = instance::verify(session.manager(), spec, session.dry_run());
  if (!problems) return problems;
  VBD_TRY_ASSIGN(const auto leftovers, device::scan(session.device(), repair && !session.dry_run()));
  for (const device::Leftover &leftover : leftovers) {
    problems->push_back({leftover.image, leftover.problem, leftover.repaired});
  }
  const bool mend = repair && !session.dry_run();
  VBD_TRY_ASSIGN(const auto exports, backup::left_exports(session.settings(), mend));
  for (const std::string &path : exports) {
    problems->push_back({path, "export that a killed run left", mend && !sys::path_exists(path)});
  }
  return problems;
}

std::string room_text(const instance::Room &room, bool low, std::uint64_t min_free) {
  const std::string where = text::printable(room.directory);
  std::string out;
  if (low) {
    out += text::cat("problem: ", where, ": ", format_size(room.free),
                     " free on its filesystem, below min_free ", format_size(min_free), "\n");
  }
  if (room.promised > room.free) {
    out += text::cat("note: ", where, ": disks on its filesystem may grow by ", format_size(room.promised),
                     ", ", format_size(room.free), " are free\n");
  }
  return out;
}

json::Value room_json(const instance::Room &room, bool low) {
  json::Value value;
  value.set("directory", room.directory).set("total", room.total).set("free", room.free);
  value.set("promised", room.promised).set("overcommitted", room.promised > room.free);
  return value.set("below_min_free", low);
}

Result<Outcome> verify(Session &session) {
  const auto problems = find_problems(session);
  if (!problems) return problems.error();
  VBD_TRY_ASSIGN(const auto entries, instance::Catalog(session.settings()).list());
  std::size_t left = 0;
  json::Array array, filesystems;
  std::string out;
  for (const instance::Problem &problem : *problems) {
    if (!problem.repaired) ++left;
    array.push_back(
        json::Object{{"where", problem.where}, {"what", problem.what}, {"repaired", problem.repaired}});
    out += text::cat(problem.repaired ? "repaired: " : "problem: ", text::printable(problem.where), ": ",
                     text::printable(problem.what), "\n");
  }
  for (const instance::Room &room : instance::room_left(session.settings(), entries)) {
    const bool low = room.free < session.settings().min_free;
    if (low) ++left;
    out += room_text(room, low, session.settings().min_free);
    filesystems.push_back(room_json(room, low));
  }
  if (problems->empty() && left == 0) out = "no problems found\n" + out;
  json::Value value;
  value.set("schema", "vbdkit.verify/1").set("problems", std::move(array)).set("left", std::uint64_t{left});
  value.set("filesystems", std::move(filesystems));
  return Outcome{std::move(out), std::move(value), left == 0 ? Exit::done : Exit::failed};
}

constexpr OptionSpec kInitOptions[] = {
    {"--file-storage-dir", Takes::value, "DIR",
     "where instances get their directories; written into a new configuration", "", false, Meaning::file},
};
constexpr OptionSpec kVerifyOptions[] = {
    {"--repair", Takes::nothing, "", "finish or undo what killed runs left"},
    {"--rebuild", Takes::nothing, "", "find instances again from their directories"},
    {"--trust-parameters", Takes::nothing, "",
     "with --rebuild: also those whose parameters may name things of this host"},
    {"--forget", Takes::values, "NAME", "forget an instance whose directory is lost; can be repeated", "",
     false, Meaning::instance},
};
constexpr std::string_view kInitExamples[] = {"vbd cluster init",
                                              "vbd cluster init --file-storage-dir /srv/images"};
constexpr std::string_view kInfoExamples[] = {"vbd cluster info", "vbd cluster info --output json"};
constexpr std::string_view kVerifyExamples[] = {"vbd cluster verify", "vbd cluster verify --repair --dry-run",
                                                "vbd cluster verify --rebuild",
                                                "vbd cluster verify --forget web1"};

constexpr VerbSpec kVerbs[] = {
    {"init",
     "make the directories and a configuration",
     "Makes the directories that the configuration names, and a configuration file where there is none. What "
     "is\n"
     "there already stays as it is. No volume group is looked for and no tool of LVM is needed.",
     kInitOptions,
     {},
     kInitExamples,
     true,
     true,
     init},
    {"info", "show settings, free space and counts", "", {}, {}, kInfoExamples, false, false, info},
    {"verify",
     "look for problems and leftovers",
     "Looks for problems and leftovers; exit 1 when some are left. An instance whose storage is not there "
     "is\n"
     "reported and stays known: only --forget NAME forgets it, and never one that is there and fine.",
     kVerifyOptions,
     {},
     kVerifyExamples,
     true,
     false,
     verify},
};

}  // namespace
}  // namespace cluster_file

std::span<const VerbSpec> cluster_verbs() {
  return cluster_file::kVerbs;
}

}  // namespace vbd::cli
