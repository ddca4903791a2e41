// SPDX-License-Identifier: MIT
// Records of attachments, which lie in RUN_DIR: what is read is written and read as the same.
#include "core/device/record_json.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const auto record = device::parse_record_json(fuzz::text_of(data, size), "1-2.json");
  if (!fuzz::good(record)) return 0;
  const std::string written = device::write_record_json(*record);
  const auto again = device::parse_record_json(written, "1-2.json");
  fuzz::require(fuzz::good(again), "a record that is written and not read");
  fuzz::require(device::write_record_json(*again) == written, "a record that is read as another");
  fuzz::require(again->image == record->image && again->file == record->file &&
                    again->holders == record->holders && again->options == record->options &&
                    again->state == record->state && again->node == record->node &&
                    again->block_size == record->block_size && again->phase == record->phase &&
                    again->birth == record->birth,
                "a record that lost something");
  fuzz::require(record->block_size >= 512 && record->block_size <= 65536 &&
                    (record->block_size & (record->block_size - 1)) == 0,
                "a block size that no device has");
  return 0;
}
