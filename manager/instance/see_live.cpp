// SPDX-License-Identifier: MIT
// What list and info say about running: only guests that are noted under RUN_DIR cost anything, and a
// toolstack is asked once for all of them.
#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>

#include "core/base/text.hpp"
#include "core/sys/components.hpp"
#include "core/sys/files.hpp"
#include "core/sys/trusted.hpp"
#include "manager/hypervisor/guest.hpp"
#include "manager/instance/guest_record.hpp"
#include "manager/instance/live.hpp"
#include "manager/instance/world.hpp"

namespace vbd::instance {
namespace {

using hypervisor::GuestStatus;
using hypervisor::Profile;
using text::cat;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// For one monitor, and for all of them: a guest that hangs must not keep the list.
constexpr milliseconds kOnePatience{500}, kAllPatience{2000};

}  // namespace

/// A toolstack's answers, kept.
class LiveLook {
 public:
  explicit LiveLook(const Manager &manager) : manager_(manager), deadline_(Clock::now() + kAllPatience) {}

  Result<GuestStatus> status(const GuestRecord &guest) {
    VBD_TRY_ASSIGN(auto profile, profile_of(guest.hypervisor));
    if (profile->commands.kind == hypervisor::Commands::Kind::toolstack) {
      auto &all = answer_of(guest.hypervisor, *profile);
      if (!all) return all.error();
      return hypervisor::find_guest(*all, guest.name, guest.has_uuid ? guest.uuid : "");
    }
    const auto left = std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now());
    return hypervisor::guest_status(
        {*profile, manager_.runner, guest.name, directory_of(manager_.settings, guest), guest.process},
        std::clamp(left, milliseconds(1), kOnePatience));
  }

 private:
  Result<const Profile *> profile_of(const std::string &name) {
    auto found = profiles_.find(name);
    if (found == profiles_.end())
      found = profiles_.emplace(name, hypervisor::load_profile(name, manager_.profile_dirs)).first;
    if (!found->second) return found->second.error();
    return &*found->second;
  }
  Result<hypervisor::Guests> &answer_of(const std::string &name, const Profile &profile) {
    auto found = answers_.find(name);
    if (found == answers_.end())
      found = answers_.emplace(name, hypervisor::toolstack_status(profile, manager_.runner)).first;
    return found->second;
  }

  const Manager &manager_;
  Clock::time_point deadline_;
  std::map<std::string, Result<Profile>> profiles_;
  std::map<std::string, Result<hypervisor::Guests>> answers_;
};

namespace {

void set(Entry &entry, State state, std::string reason) {
  entry.state = state;
  entry.reason = std::move(reason);
}

void judge(LiveLook &look, Entry &entry, const std::optional<GuestRecord> &guest) {
  if (!guest) {
    if (entry.record.wanted_up)
      set(entry, State::error, "should run, but was not started since the host was");
    return;
  }
  auto status = look.status(*guest);
  if (!status) return set(entry, State::error, cat("can't be asked: ", status.error().message()));
  switch (status->state) {
    case GuestStatus::State::running:
    case GuestStatus::State::paused:
      return set(entry, State::running, status->reason);
    case GuestStatus::State::stopped:
      return set(entry, State::stopped, status->reason);
    case GuestStatus::State::error:
      return set(entry, State::error, status->reason);
    case GuestStatus::State::absent:
      return set(entry, State::error, "should run, but has ended");
  }
}

}  // namespace

struct LiveView::Parts {
  Manager manager;
  std::set<std::string> noted;  // UUIDs
  std::string unknown;          // why what runs can't be told; "" it can
  LiveLook look{manager};
  std::optional<std::vector<sys::LockedFile>> processes = {};

  /// A guest that is noted nowhere.
  std::optional<GuestRecord> find_unnoted(const InstanceRecord &record) {
    if (!may_run_here(manager.settings, record)) return {};
    if (!processes) processes = guest_processes();
    if (auto guest = guest_among(*processes, manager, record)) return guest;
    auto guest = toolstack_guest(manager, record);
    const auto status = guest ? look.status(*guest) : Result<GuestStatus>(GuestStatus{});
    return status && status->there() ? guest : std::nullopt;
  }
};

LiveView::LiveView(const Manager &manager) : parts_(new Parts{manager, {}, {}}) {
  auto directory = sys::open_trusted_directory(manager.settings.run_dir + "/instances", sys::kRunDirectory);
  auto names =
      directory ? sys::list_dir(directory->get()) : Result<std::vector<std::string>>(directory.error());
  if (names) {
    parts_->noted.insert(names->begin(), names->end());
  } else if (!names.error().is(sys::kNotFound)) {
    parts_->unknown = names.error().message();
  }
}

LiveView::~LiveView() = default;

void LiveView::see(std::vector<Entry> &entries) {
  const config::Settings &settings = parts_->manager.settings;
  for (auto &entry : entries) {
    if (entry.state != State::stopped || entry.record.node != settings.node) continue;
    if (!parts_->unknown.empty()) {
      set(entry, State::error, cat("can't be told whether it runs: ", parts_->unknown));
      continue;
    }
    std::optional<GuestRecord> guest;
    if (parts_->noted.contains(entry.record.uuid)) {
      auto read = read_guest(settings, entry.record.uuid);
      if (!read) {
        set(entry, State::error, read.error().message());
        continue;
      }
      guest = *read;
    }
    if (!guest) guest = parts_->find_unnoted(entry.record);
    judge(parts_->look, entry, guest);
  }
}

void see_live(const Manager &manager, std::vector<Entry> &entries) {
  LiveView(manager).see(entries);
}

}  // namespace vbd::instance
