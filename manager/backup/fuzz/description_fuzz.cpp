// SPDX-License-Identifier: MIT
// config.ini, which may come from anywhere: every number in its bounds, every file in its directory, and what
// is written is read as the same.
#include "core/base/size.hpp"
#include "manager/backup/description.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;
using namespace vbd::backup;

namespace {

void check_ini(const Ini &ini) {
  const auto text = ini.str();
  if (!fuzz::good(text)) return;
  const auto again = Ini::parse(*text, "config.ini");
  fuzz::require(fuzz::good(again), "a config.ini that is written and not read");
  const auto twice = again->str();
  fuzz::require(fuzz::good(twice) && *twice == *text, "a config.ini that is read as another");
}

bool is_below(const std::string &file) {
  return !file.empty() && file.find('/') == std::string::npos && file.front() != '.';
}

void check_disk(const ExportedDisk &disk, bool ours) {
  fuzz::require(disk.dump.empty() || is_below(disk.dump), "a dump elsewhere");
  fuzz::require(disk.mib >= 1 && disk.mib <= kMaxImageSize >> 20, "a size out of its bounds");
  fuzz::require(disk.own.has_value() == ours, "an export that is half ours");
  if (!disk.own) return;
  fuzz::require(is_below(disk.own->file), "an image elsewhere");
  fuzz::require(
      disk.own->size >= kSectorSize && disk.own->size <= kMaxImageSize && disk.own->size % kSectorSize == 0,
      "a disk's size out of its bounds");
  fuzz::require(disk.own->digest.size() == 64, "a digest that is none");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const auto ini = Ini::parse(text, "config.ini");
  if (fuzz::good(ini)) check_ini(*ini);
  if (const auto pairs = split_pairs(text))
    fuzz::require(split_pairs(join_pairs(*pairs)) == pairs, "pairs that are read as others");
  const auto read = parse_description(text, "config.ini");
  if (!fuzz::good(read)) return 0;
  fuzz::require(read->nics.size() <= kMaxNics && !read->disks.empty() && read->disks.size() <= kMaxDisks,
                "more than there may be");
  for (const ExportedDisk &disk : read->disks) check_disk(disk, read->ours);
  for (const NicRecord &nic : read->nics) fuzz::require(check_nic(nic).ok(), "a card that is none");
  if (!read->ours) return 0;
  const auto written = write_description(*read);
  if (!fuzz::good(written)) return 0;
  const auto again = parse_description(*written, "config.ini");
  fuzz::require(fuzz::good(again), "a description that is written and not read");
  const auto twice = write_description(*again);
  fuzz::require(fuzz::good(twice) && *twice == *written, "a description that is read as another");
  return 0;
}
