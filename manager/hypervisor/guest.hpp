// SPDX-License-Identifier: MIT
// A guest under its hypervisor: started, asked, stopped, told. Programs run through the Runner, as argument
// vectors of the profile. Not thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/sys/run.hpp"
#include "manager/hypervisor/profile.hpp"

namespace vbd::hypervisor {

inline constexpr ErrorKind kStartFailed{"hypervisor.start_failed", Exit::failed};
inline constexpr ErrorKind kAbsent{"hypervisor.absent", Exit::failed};
inline constexpr ErrorKind kNoGuest{"hypervisor.no_guest", Exit::failed};

inline constexpr const char *kConfigFile = "config";
inline constexpr const char *kControlSocket = "control";
inline constexpr const char *kLogFile = "log";
/// Locked by the guest's process, or by what a toolstack's start has running, as long as that lives.
inline constexpr const char *kGuardFile = "guard";

/// A guest of this host. Its private directory holds the config file, the log, the control socket.
struct Guest {
  const Profile &profile;
  sys::Runner &runner;
  std::string name;
  std::string directory;
  sys::Process process = {};  ///< of a guest that is a process, when it is known
  std::string uuid = {};      ///< that its config gave it; "" the name alone tells it
};

/// What the hypervisor says.
struct GuestStatus {
  enum class State { absent, running, paused, stopped, error };
  /// The words of all but absent, as a profile's `states` write them.
  static constexpr std::array<std::pair<std::string_view, State>, 4> kWords{{{"running", State::running},
                                                                             {"paused", State::paused},
                                                                             {"stopped", State::stopped},
                                                                             {"error", State::error}}};
  [[nodiscard]] static std::optional<State> of_word(std::string_view word);
  State state = State::absent;
  std::string reason;
  std::string id, uuid;  ///< of a toolstack's, where its list has them
  [[nodiscard]] bool there() const { return state != State::absent; }
};

/// kAbsent when this host can't run guests of the profile: kCannotRun when it only writes config files.
[[nodiscard]] Result<void> check_present(const Profile &profile);

/// The config file is there. Returns when the guest runs; `process` is set as soon as it is known, also when
/// the start then fails (kStartFailed with the last lines of its log). `guard`: a locked descriptor that the
/// process inherits.
[[nodiscard]] Result<void> start_guest(Guest &guest, const std::string &config, bool paused, int guard);

/// An error when the hypervisor can't be asked.
[[nodiscard]] Result<GuestStatus> guest_status(const Guest &guest, std::chrono::milliseconds patience);
/// Of all guests of a toolstack at once, by name. A name with a blank in it looks like another one: the UUID
/// tells them apart.
using Guests = std::multimap<std::string, GuestStatus>;
[[nodiscard]] Result<Guests> toolstack_status(const Profile &profile, sys::Runner &runner);
/// What its `status` printed.
[[nodiscard]] Guests read_toolstack_status(const Commands &commands, std::string_view answer);
/// The one of exactly that name and, where the list has them and it is not "", that UUID; absent.
[[nodiscard]] GuestStatus find_guest(const Guests &guests, const std::string &name, const std::string &uuid);

/// Asks it to shut down; returns at once. Ended already: fine.
[[nodiscard]] Result<void> ask_stop(const Guest &guest);
/// Ends it; returns when it is gone.
[[nodiscard]] Result<void> destroy_guest(const Guest &guest);
/// True when it is gone, or has shut down and waits to be destroyed, within `patience`. An interrupt
/// (core/sys/interrupt.hpp) ends the wait.
[[nodiscard]] Result<bool> wait_down(const Guest &guest, std::chrono::milliseconds patience);
/// Both, and asks again every few seconds: a guest that boots does not hear the first request.
[[nodiscard]] Result<bool> stop_orderly(const Guest &guest, std::chrono::milliseconds patience);

/// Runs `commands` (pause, resume, reset, reboot, grow) with its values; false when the profile has none.
/// A {id} in them is looked up in one list of the toolstack, when `values` does not have it: kNoGuest.
/// `patience`: for the answer of a monitor.
[[nodiscard]] Result<bool> tell_guest(const Guest &guest, const std::vector<std::string> &commands,
                                      const std::map<std::string, std::string> &values = {},
                                      std::chrono::milliseconds patience = std::chrono::seconds(2));

/// The words of a config file that was quoted for shell-args: the inverse of render_config. kBadProfile for a
/// quote that is not closed.
[[nodiscard]] Result<std::vector<std::string>> split_arguments(const std::string &config);

}  // namespace vbd::hypervisor
