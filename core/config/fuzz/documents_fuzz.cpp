// SPDX-License-Identifier: MIT
// instance.yaml, pointers and logical_ids: what is read keeps the rules, and what is written is read as the
// same.
#include "core/config/documents.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;
using namespace vbd::config;

namespace {

void check_disks(const InstanceRecord &record) {
  fuzz::require(record.disks.size() <= kMaxDisks && record.nics.size() <= kMaxNics, "more than there may be");
  for (const DiskRecord &disk : record.disks) {
    fuzz::require(disk.file.find('/') == std::string::npos && disk.file.front() != '.', "a disk elsewhere");
    fuzz::require(check_image_path(record.directory + "/" + disk.file).ok() || record.directory == "/" ||
                      record.directory.size() + disk.file.size() > 4000,
                  "a disk whose path is none");
    fuzz::require(disk.size >= 512 && disk.size % 512 == 0 && disk.size <= (std::uint64_t{1} << 63) - 512,
                  "a disk's size out of its bounds");
  }
  for (const NicRecord &nic : record.nics) fuzz::require(check_nic(nic).ok(), "a card that is none");
  if (!record.operation) return;
  for (const std::string &file : record.operation->files)
    fuzz::require(file.find('/') == std::string::npos && file != ".." && file != ".", "a file elsewhere");
}

void check_instance(std::string_view text) {
  const auto record = parse_instance(text, "instance.yaml");
  const auto head = parse_instance_head(text, "instance.yaml");
  fuzz::good(head);
  if (!fuzz::good(record)) return;
  fuzz::require(head.ok() && head->name == record->name && head->uuid == record->uuid, "another head");
  fuzz::require(check_instance_name(record->name).ok(), "a name that is none");
  fuzz::require(check_image_path(record->directory).ok(), "a directory that is none");
  check_disks(*record);
  const std::string written = write_instance(*record);
  const auto again = parse_instance(written, "instance.yaml");
  fuzz::require(fuzz::good(again), "an instance.yaml that is written and not read");
  fuzz::require(write_instance(*again) == written, "an instance.yaml that is read as another");
}

void check_logical_id(std::string_view text) {
  const auto id = parse_logical_id(text, Settings{});
  if (!fuzz::good(id)) return;
  fuzz::require(check_image_path(id->path).ok(), "a path that is none");
  const auto again = parse_logical_id(id->str(), Settings{});
  fuzz::require(fuzz::good(again) && *again == *id, "a logical_id that is read as another");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  check_instance(text);
  check_logical_id(text);
  const auto pointer = parse_pointer(text, "pointer.yaml");
  if (fuzz::good(pointer)) {
    const auto again = parse_pointer(write_pointer(*pointer), "pointer.yaml");
    fuzz::require(fuzz::good(again), "a pointer that is written and not read");
    fuzz::require(again->name == pointer->name && again->uuid == pointer->uuid &&
                      again->directory == pointer->directory,
                  "a pointer that is read as another");
  }
  return 0;
}
