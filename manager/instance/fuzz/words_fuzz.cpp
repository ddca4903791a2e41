// SPDX-License-Identifier: MIT
// The words of -t, --disk and --net, and the notes of guests in RUN_DIR.
#include <set>

#include "core/base/size.hpp"
#include "manager/instance/disks.hpp"
#include "manager/instance/guest_record.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;
using namespace vbd::instance;

namespace {

void check_disk(const DiskSpec &disk) {
  fuzz::require(disk.index < kMaxDisks, "a disk beyond the last");
  if (disk.size) {
    fuzz::require(*disk.size >= kSectorSize && *disk.size <= kMaxImageSize && *disk.size % kSectorSize == 0,
                  "a disk's size out of its bounds");
  }
  fuzz::require(!disk.mode || *disk.mode == "ro" || *disk.mode == "rw", "a mode that is none");
}

void check_guest(std::string_view text) {
  const auto guest = parse_guest(text, "bb28078d-4426-4c35-8fdf-d1bb21565c72", "boot", "guest.json");
  if (!fuzz::good(guest) || !*guest) return;
  const auto again = parse_guest(format_guest(**guest, "boot"), (*guest)->uuid, "boot", "guest.json");
  fuzz::require(fuzz::good(again) && again->has_value(), "a note that is written and not read");
  const GuestRecord &a = **guest, &b = **again;
  fuzz::require(a.name == b.name && a.hypervisor == b.hypervisor && a.started == b.started && a.up == b.up &&
                    a.has_uuid == b.has_uuid && a.held == b.held && a.directory == b.directory,
                "a note that is read as another");
  fuzz::require(a.process.pid == b.process.pid && a.process.start_time == b.process.start_time,
                "a note of another process");
  fuzz::require(a.process.pid >= 0, "a process that is a group");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  check_guest(text);
  if (text.find('\0') != std::string::npos) return 0;  // no argument has one
  AddSpec spec;
  fuzz::good(parse_template(text, spec));
  fuzz::require(!spec.options.contains(""), "an option without a name");
  const auto disk = parse_disk(text);
  if (fuzz::good(disk)) check_disk(*disk);
  const auto net = parse_net(text);
  if (fuzz::good(net)) {
    fuzz::require(net->index < kMaxNics, "a card beyond the last");
    NicRecord nic = net->nic;
    if (nic.mac.empty()) nic.mac = "aa:00:00:12:34:56";
    fuzz::require(check_nic(nic).ok(), "a card that is none");
  }
  const auto change = parse_disk_change(text);
  if (fuzz::good(change)) {
    fuzz::require(!change->index || *change->index < kMaxDisks, "a disk beyond the last");
    check_disk(change->disk);
  }
  return 0;
}
