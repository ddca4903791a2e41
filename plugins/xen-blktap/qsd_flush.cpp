// SPDX-License-Identifier: MIT
#include "qsd_flush.hpp"

namespace blktap {
namespace {

constexpr const char *kPidKey = "qsd.flush.pid", *kStartKey = "qsd.flush.start";
constexpr std::uint32_t kStopMs = 10000;

QsdProcess recorded(const Call &call) {
  return {std::strtoll(call.recall(kPidKey).c_str(), nullptr, 10),
          std::strtoull(call.recall(kStartKey).c_str(), nullptr, 10)};
}

}  // namespace

std::int32_t keep_flushing(const Call &call, const std::string &fuse, const std::string &unit,
                           const QsdProcess &process) {
  const vbd_ext_spawn *spawn = call.driver.spawn;
  const vbd_host *host = call.driver.host;
  const QsdProcess known = recorded(call);
  if (spawn == nullptr || (known.pid > 0 && spawn->alive(host->ctx, known.pid, known.start_time) == VBD_OK))
    return VBD_OK;
  const std::string pid = std::to_string(process.pid), start = std::to_string(process.start_time);
  const char *const words[] = {"vbdkit-flush", fuse.c_str(), pid.c_str(), start.c_str(), nullptr};
  vbd_spawn_args args = {};
  args.size = sizeof args;
  args.argv = words;
  args.unit = unit.c_str();
  const std::int32_t status = spawn->spawn(host->ctx, &args, call.err);
  if (status != VBD_OK) return status;
  // One that a kill keeps us from recording ends with its daemon all the same.
  const std::int32_t put = call.record(kPidKey, std::to_string(args.pid));
  return put != VBD_OK ? put : call.record(kStartKey, std::to_string(args.start_time));
}

std::int32_t stop_flushing(const Call &call) {
  const vbd_ext_spawn *spawn = call.driver.spawn;
  const QsdProcess known = recorded(call);
  if (spawn != nullptr && known.pid > 0) {
    const std::int32_t status =
        spawn->stop(call.driver.host->ctx, known.pid, known.start_time, kStopMs, call.err);
    if (status != VBD_OK) return status;
  }
  call.forget(kPidKey);
  call.forget(kStartKey);
  return VBD_OK;
}

}  // namespace blktap
