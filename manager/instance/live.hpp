// SPDX-License-Identifier: MIT
// Instances that run: start, stop, reboot, and what list and info say about them. What runs on this host is
// noted in RUN_DIR/instances/UUID, which goes with the boot; what should run is in instance.yaml. A failed
// start undoes itself, and what a killed run left is settled by the next verb (settle.hpp). Not thread-safe;
// safe against other processes.
#pragma once

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "manager/hypervisor/profile.hpp"
#include "manager/instance/lifecycle.hpp"
#include "manager/instance/settle.hpp"

namespace vbd::instance {

inline constexpr ErrorKind kRunning{"instance.running", Exit::busy};
inline constexpr ErrorKind kStillRunning{"instance.still_running", Exit::failed};
inline constexpr ErrorKind kNotRunning{"instance.not_running", Exit::failed};

struct StartSpec {
  std::string name;
  bool paused = false;
};
/// Running already: fine; one that is paused goes on. kRunning when somebody else started it while we waited.
[[nodiscard]] Result<Plan> start(const Manager &manager, const StartSpec &spec, bool dry_run);

struct StopSpec {
  std::string name;
  bool force = false;                 ///< end it when it has not shut down within `timeout`
  std::chrono::seconds timeout{120};  ///< 0: end it at once
  bool remember = true;               ///< false: it should run again after the host's next start
};
/// Not running: cleans up what is left of it. kStillRunning when it did not shut down in time.
[[nodiscard]] Result<Plan> stop(const Manager &manager, const StopSpec &spec, bool dry_run);
/// By the hypervisor where it can, else stopped and started. With force: a reset.
[[nodiscard]] Result<Plan> reboot(const Manager &manager, const StopSpec &spec, bool dry_run);

/// A guest that is noted on this host while its instance can't be read: `what` is for people; of one that has
/// ended the note can go.
struct LostGuest {
  std::string uuid, name, what;
  bool ended = false;
};
[[nodiscard]] std::vector<LostGuest> lost_guests(const Manager &manager,
                                                 const std::set<std::string> &readable_uuids);
/// The note of one that has ended.
[[nodiscard]] Result<void> forget_guest(const Manager &manager, const LostGuest &guest);

/// Puts what runs into entries that are `stopped` so far. Asks each toolstack once, however many calls of
/// see() there are.
class LiveView {
 public:
  explicit LiveView(const Manager &manager);
  LiveView(const LiveView &) = delete;
  LiveView &operator=(const LiveView &) = delete;
  ~LiveView();
  void see(std::vector<Entry> &entries);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};
/// Of one set of entries.
void see_live(const Manager &manager, std::vector<Entry> &entries);
/// kRunning when a guest is there, or what is left of one that ended.
[[nodiscard]] Result<void> check_down(const Manager &manager, const InstanceRecord &record);
/// kAbsent (hypervisor) and the like: why the configured hypervisor can't start anything here.
[[nodiscard]] Result<void> check_can_start(const Manager &manager);

/// kBadGuestName (hypervisor): the configured hypervisor's tool would take the name for another guest.
[[nodiscard]] Result<void> check_addressable(const Manager &manager, const std::string &name);

/// The guest's config file as this profile writes it, from drivers' strings and attached nodes.
[[nodiscard]] Result<std::string> render_for(const Manager &manager, const hypervisor::Profile &profile,
                                             const InstanceRecord &record);

/// Settles an interrupted start, stop or reboot: a guest that runs stays, all else is cleaned up.
[[nodiscard]] Result<void> settle_live(const Manager &manager, Work &work);

}  // namespace vbd::instance
