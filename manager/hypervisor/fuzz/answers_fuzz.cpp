// SPDX-License-Identifier: MIT
// What hypervisors answer: lines of a monitor, and the list of a toolstack.
#include "manager/hypervisor/guest.hpp"
#include "manager/hypervisor/qmp.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;
using namespace vbd::hypervisor;

namespace {

void check_list(std::string_view text) {
  Commands commands;
  commands.kind = Commands::Kind::toolstack;
  commands.status_skip = 1;
  commands.status_word = 5;
  commands.states = {
      {"-b----", "running"}, {"--p---", "paused"}, {"---s--", "stopped"}, {"----c-", "error: crashed"}};
  const std::size_t columns = text.size() % 3;  // without ids, with ids, with UUIDs
  commands.status_id = columns >= 1 ? 2 : 0;
  commands.status_uuid = columns == 2 ? 7 : 0;
  const auto found = read_toolstack_status(commands, text);
  fuzz::require(found.size() <= text::split(text, '\n').size(), "more guests than lines");
  for (const auto &[name, status] : found) {
    fuzz::require(!name.empty() && name.find(' ') == std::string::npos, "a name of two words");
    fuzz::require(status.there(), "a guest that is listed and absent");
    fuzz::require(commands.status_id == 0 || status.id.find_first_not_of("0123456789") == std::string::npos,
                  "an id that is no number");
    const auto again = find_guest(found, name, status.uuid);
    fuzz::require(again.there() && (again.uuid.empty() || status.uuid.empty() || again.uuid == status.uuid),
                  "a guest that is found as another");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  check_list(text);
  const auto answer = read_qmp_answer(text, R"({"execute": "query-status"})");
  if (fuzz::good(answer) && *answer) fuzz::good(read_qmp_status(**answer));
  const auto status = json::parse(text);
  if (status) fuzz::good(read_qmp_status(*status));
  return 0;
}
