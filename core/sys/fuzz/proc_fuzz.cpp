// SPDX-License-Identifier: MIT
// What the kernel tells of mounts, processes and locks, in parts of which anybody's words stand: names of
// mount points and of programs.
#include "core/sys/proc.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const std::string_view text = fuzz::text_of(data, size);
  const auto mounts = sys::parse_mountinfo(text);
  fuzz::require(mounts.size() <= text::split(text, '\n').size(), "more mounts than lines");
  for (const sys::MountEntry &mount : mounts) {
    fuzz::require(mount.type.find(' ') == std::string::npos && mount.options.find(' ') == std::string::npos,
                  "a field that is two");
  }
  // A program may call itself anything of up to 15 bytes: the fields behind it stay what they are.
  const std::string name(text.substr(0, 15));
  const std::string tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n";
  const auto state = sys::parse_process_state(text::cat("17 (", name, ")", tail));
  fuzz::require(state && state->state == 'S' && state->start_time == 4242,
                "a program's name that changes what is read of it");
  (void)sys::parse_process_state(text);
  for (const sys::HeldRange &range : sys::parse_held_ranges(text))
    fuzz::require(range.first <= range.last, "a range that ends before it begins");
  return 0;
}
