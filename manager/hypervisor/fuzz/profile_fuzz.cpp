// SPDX-License-Identifier: MIT
// Profiles and what is rendered with them: a value never becomes more than a value of the guest's config.
// Input: the profile, NUL, values.
#include "manager/hypervisor/guest.hpp"
#include "manager/hypervisor/profile.hpp"
#include "tests/support/fuzz.hpp"

using namespace vbd;
using namespace vbd::hypervisor;

namespace {

/// A template of one parameter, quoted as `quote` says: the file has one line, and gives the value back.
void check_value(const std::string &quote, const std::string &value) {
  Profile profile;
  profile.name = "one";
  profile.quote = quote;
  profile.config = "{value}";
  const auto rendered = render_config(profile, "web1", {{"value", value}}, {});
  if (!fuzz::good(rendered)) return;
  if (value.empty()) return;
  fuzz::require(rendered->find('\n') == rendered->size() - 1, "a value of two lines");
  if (quote != "shell-args") return;
  const auto words = split_arguments(*rendered);
  fuzz::require(fuzz::good(words) && words->size() == 1 && words->front() == value,
                "a value that is another argument");
}

void check_rendering(const Profile &profile, const std::vector<std::string> &words) {
  std::map<std::string, std::string> parameters;
  std::size_t at = 1;
  for (const std::string &name : parameter_names(profile)) {
    if (at < words.size()) parameters[name] = words[at++];
  }
  const auto checked = check_parameters(profile, parameters, "-H");
  fuzz::good(checked);
  NicRecord nic;
  nic.mac = "aa:00:00:12:34:56";
  nic.mode = "bridged";
  const auto disk = node_disk(profile, "/dev/loop0", "sda1", false);
  fuzz::good(disk);
  const auto rendered =
      render_config(profile, "web1", parameters, {{disk ? *disk : "/dev/loop0", "sda1", false}}, {nic});
  if (!fuzz::good(rendered)) return;
  const std::size_t lines = text::split(*rendered, '\n').size();
  const std::size_t most = text::split(profile.config, '\n').size() + text::split(profile.disk, '\n').size() +
                           text::split(profile.nic, '\n').size() + 1;
  fuzz::require(lines <= most, "more lines than the template has");
  if (profile.quote == "shell-args") fuzz::good(split_arguments(*rendered));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const auto words = fuzz::words_of(data, size);
  check_value("xl", words.back());
  check_value("shell-args", words.back());
  const auto profile = parse_profile(words.front(), "one", "one.yaml");
  if (fuzz::good(profile)) check_rendering(*profile, words);
  return 0;
}
