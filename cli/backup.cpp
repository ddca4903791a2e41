// SPDX-License-Identifier: MIT
// vbd backup
#include "manager/backup/backup.hpp"
#include "cli/instance_words.hpp"
#include "cli/nouns.hpp"
#include "cli/parser.hpp"
#include "cli/progress.hpp"
#include "cli/report/backups.hpp"
#include "cli/report/report.hpp"
#include "cli/session.hpp"
#include "cli/terminal.hpp"
#include "cli/vet_words.hpp"
#include "core/base/text.hpp"

namespace vbd::cli {
namespace backup_file {
namespace {

Result<backup::ExportSpec> export_spec(const Arguments &args) {
  backup::ExportSpec spec;
  spec.name = args.value("NAME");
  spec.node = args.value("node");
  spec.images = args.value("mode", "dump") == "image";
  spec.zstd = args.has("zstd");
  spec.live = args.has("live");
  spec.assume_unused = args.has("assume-unused");
  spec.raw = args.has("raw");
  if (spec.images && spec.zstd) return Error{kBadValue, "--mode image: --zstd is for dumps"};
  if (spec.images && spec.raw) return Error{kBadValue, "--mode image: --raw is for dumps"};
  if (!args.has("filetype")) return spec;
  if (!spec.images) return Error{kBadValue, "--filetype: is for --mode image; a dump is the disk's bytes"};
  auto filetype = Constant::parse(args.value("filetype"), PluginKind::filetype);
  if (!filetype) return filetype.error();
  spec.filetype = *std::move(filetype);
  return spec;
}

Result<Outcome> export_instance(Session &session) {
  VBD_TRY_ASSIGN(const auto spec, export_spec(session.args()));
  Progress progress(session, "export", text::cat("exporting ", text::printable(spec.name)));
  VBD_TRY_ASSIGN(const auto done,
                 backup::export_instance(session.manager(), spec, session.dry_run(), progress.watch()));
  if (session.dry_run()) return report::plan(session.json(), done.plan, true, "");
  return report::exported(session.json(), done);
}

/// NAME, --src-dir, and the words of `instance add` that override what the export says.
Result<backup::ImportSpec> import_spec(const Arguments &args, const config::Settings &settings) {
  auto add = add_spec(args, settings);
  if (!add) return add.error();
  backup::ImportSpec spec;
  spec.add = *std::move(add);
  spec.source = args.value("src-dir");
  spec.no_nics = args.has("no-nics");
  spec.new_macs = args.value("mac", "keep") == "generate";
  spec.raw = args.has("raw");
  spec.trust = args.has("trust-parameters");
  return spec;
}

Result<Outcome> import_instance(Session &session) {
  VBD_TRY_ASSIGN(const auto spec, import_spec(session.args(), session.settings()));
  Progress progress(session, "import", text::cat("importing ", text::printable(spec.add.name)));
  const auto steps =
      backup::import_instance(session.vetting_manager(), spec, session.dry_run(), progress.watch());
  if (!steps) return steps.error();
  return report::from_outside(session.json(), *steps, session.dry_run(),
                              text::cat("instance ", spec.add.name, ": imported"));
}

Result<Outcome> list(Session &session) {
  VBD_TRY_ASSIGN(const auto found, backup::list_exports(session.settings()));
  report::ExportsLook look{session.args().has("no-headers"), session.args().value("separator"),
                           session.color()};
  return report::exports(session.json(), found, look);
}

Result<void> confirm(Session &session, const std::string &name) {
  if (session.args().has("yes") || session.args().has("force")) return {};
  const std::string what = text::cat("backup remove ", text::printable(name));
  if (!can_ask()) {
    return Error{instance::kConfirm, what + ": not confirmed, for there is no terminal to ask on",
                 "add --yes"};
  }
  VBD_TRY_ASSIGN(const auto steps, backup::remove(session.manager(), name, true));
  for (const std::string &step : steps) write_stderr(text::printable(step) + "\n");
  if (ask(text::cat("Remove the export ", text::printable(name), "? [y/N] "))) return {};
  return Error{instance::kConfirm, what + ": not confirmed, nothing was changed"};
}

Result<Outcome> remove(Session &session) {
  const std::string name = session.args().value("NAME");
  if (!session.dry_run()) {
    if (auto confirmed = confirm(session, name); !confirmed) return confirmed.error();
  }
  VBD_TRY_ASSIGN(const auto steps, backup::remove(session.manager(), name, session.dry_run()));
  return report::plan(session.json(), steps, session.dry_run(), text::cat("export ", name, ": removed"));
}

constexpr ArgumentSpec kInstance[] = {{"NAME", "an instance", true, Meaning::instance}};
constexpr ArgumentSpec kNewName[] = {{"NAME", "the new instance's name", true, Meaning::exported}};
constexpr ArgumentSpec kExport[] = {{"NAME", "an export", true, Meaning::exported}};

constexpr OptionSpec kExportOptions[] = {
    {"--mode", Takes::value, "MODE",
     "dumps of the disks (as Ganeti has them), or the image files as they are", "dump|image"},
    {"--filetype", Takes::value, "FT", "with --mode image: write images of this filetype", "", false,
     Meaning::filetype},
    {"--raw", Takes::nothing, "", "dump the disks themselves, not what the guest OS's export script writes"},
    {"--zstd", Takes::nothing, "", "compress the dumps; Ganeti can't read them then"},
    {"--live", Takes::nothing, "",
     "of a running instance: from a snapshot, where the filesystem can make one"},
    {"-n,--node", Takes::value, "NODE", "accepted for this host only"},
    {"--assume-unused", Takes::nothing, "", "go on when not all processes can be looked at (without root)"},
};
constexpr std::string_view kExportExamples[] = {
    "vbd backup export web1",
    "vbd backup export --zstd web1",
    "vbd backup export --mode image web1",
    "vbd backup export --mode image --filetype qcow web1",
    "vbd backup export --dry-run web1",
};
constexpr OptionSpec kImportOptions[] = {
    {"--src-dir", Takes::value, "DIR", "the export: a name in EXPORT_DIR or a full path; default: NAME", "",
     false, Meaning::exported},
    {"-t,--disk-template", Takes::value, "file:WORDS", "as of instance add; overrides what the export says"},
    {"--disk", Takes::values, "N:size=SIZE,...",
     "as of instance add; a disk may become larger or another filetype"},
    {"--mac", Takes::value, "WHICH", "keep the network cards' addresses, or make new ones", "keep|generate"},
    {"--net", Takes::values, "N:KEY=VALUE,...", "network cards instead of the exported ones"},
    {"--no-nics", Takes::nothing, "", "no network card"},
    {"--raw", Takes::nothing, "", "the dumps are the disks' bytes, whatever the guest OS definition"},
    {"-n,--node", Takes::value, "NODE[:SECONDARY]", "primary and secondary node; default: this host"},
    {"-B,--backend-parameters", Takes::values, "KEY=VALUE,...", "override the exported ones"},
    {"-H,--hypervisor-parameters", Takes::values, "[HV:]KEY=VALUE,...", "override the exported ones"},
    {"-O,--os-parameters", Takes::values, "KEY=VALUE,...", "override the exported ones"},
    {"--trust-parameters", Takes::nothing, "",
     "take all parameters and cards of the export, also those that may name things of this host"},
    {"--no-start", Takes::nothing, "", "accepted; an imported instance is not started"},
    kRepairTaken,
    kUnchecked,
};
constexpr std::string_view kImportExamples[] = {
    "vbd backup import web1",
    "vbd backup import --src-dir web1 --mac generate web2",
    "vbd backup import --src-dir /var/lib/ganeti/export/web1.example.com -t file:driver=blktap,filetype=qcow "
    "web1",
};
constexpr OptionSpec kListOptions[] = {
    {"--no-headers", Takes::nothing, "", "print no line of headers"},
    {"--separator", Takes::value, "TEXT", "between fields, instead of aligning them"},
};
constexpr std::string_view kListExamples[] = {"vbd backup list", "vbd backup list --output json"};
constexpr OptionSpec kRemoveOptions[] = {
    {"-y,--yes", Takes::nothing, "", "do not ask"},
    {"-f,--force", Takes::nothing, "", "the same as --yes"},
};
constexpr std::string_view kRemoveExamples[] = {"vbd backup remove --yes web1",
                                                "vbd backup remove --dry-run web1"};

constexpr VerbSpec kVerbs[] = {
    {"export", "write an instance's disks and description into EXPORT_DIR/NAME",
     "Writes an instance into EXPORT_DIR/NAME in Ganeti's format: config.ini and a dump of each disk, "
     "sparse\n"
     "and with a digest that import checks. Of an instance with a guest OS definition a dump is what its\n"
     "export script writes, else the disk's bytes. An older export of that name is replaced when the new "
     "one is\n"
     "complete.",
     kExportOptions, kInstance, kExportExamples, true, false, export_instance},
    {"import", "add an instance from an export, of vbd or of Ganeti",
     "Adds an instance from an export, of vbd or of Ganeti. Digests are checked before the instance "
     "appears;\n"
     "a failure leaves nothing behind. Parameters that may name something of this host (a program, a file, "
     "a\n"
     "bridge) are left out, and told, unless they are given, or the export is trusted.",
     kImportOptions, kNewName, kImportExamples, true, false, import_instance},
    {"list", "list exports", "", kListOptions, {}, kListExamples, false, false, list},
    {"remove", "remove an export", "Removes an export. Asks on a terminal; elsewhere --yes is needed.",
     kRemoveOptions, kExport, kRemoveExamples, true, false, remove},
};

}  // namespace
}  // namespace backup_file

std::span<const VerbSpec> backup_verbs() {
  return backup_file::kVerbs;
}

}  // namespace vbd::cli
