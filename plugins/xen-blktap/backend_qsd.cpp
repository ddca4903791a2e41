// SPDX-License-Identifier: MIT
// Back end qsd: qemu-storage-daemon exports the image as a FUSE file in the host's private directory, and a
// loop device with our tag sits on that file. Works on any Linux. Order: record, file, lock released,
// process, lock verified, loop device; back in the reverse order. When the process dies the kernel can't tell
// a loop device's tag any more (LOOP_GET_STATUS64 answers ENOTCONN, tried on Linux 6.18), so the device is
// then known by its backing path. A companion of a writable one asks it to store what it holds back.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <iterator>

#include "driver.hpp"
#include "qsd_flush.hpp"
#include "qsd_process.hpp"

namespace blktap {
namespace {

using vbdkit::fail;
namespace loop = vbdkit::loop;

constexpr const char *kFuseKey = "qsd.fuse", *kPidKey = "qsd.pid", *kStartKey = "qsd.start",
                     *kFileKey = "qsd.file", *kDirectKey = "qsd.direct";
constexpr const char *kUnit = "vbdkit-qsd-", *kFlushUnit = "vbdkit-flush-";
constexpr const char *kFuseName = "disk.img";
constexpr int kWaitMs = 15000, kStepMs = 10;

bool alive(const Call &call, const QsdProcess &process) {
  const vbd_ext_spawn *spawn = call.driver.spawn;
  return process.pid > 0 && spawn != nullptr &&
         spawn->alive(call.driver.host->ctx, process.pid, process.start_time) == VBD_OK;
}

QsdProcess recorded_process(const Call &call) {
  return {std::strtoll(call.recall(kPidKey).c_str(), nullptr, 10),
          std::strtoull(call.recall(kStartKey).c_str(), nullptr, 10)};
}

/// Whether two paths name one directory: the host's may have been reached by another way when it was
/// recorded.
bool same_directory(const std::string &one, const std::string &other) {
  struct stat a = {}, b = {};
  return one == other || (::stat(one.c_str(), &a) == 0 && ::stat(other.c_str(), &b) == 0 &&
                          a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/// The file of the record is only believed, unmounted and unlinked where it lies in the attachment's own
/// directory.
std::int32_t check_fuse(const Call &call) {
  const std::string fuse = call.recall(kFuseKey);
  if (fuse.empty()) return VBD_OK;
  const char *own =
      call.driver.state == nullptr ? nullptr : call.driver.state->directory(call.driver.host->ctx);
  const std::size_t slash = fuse.rfind('/');
  const bool ours = own != nullptr && slash != std::string::npos && fuse.substr(slash + 1) == kFuseName &&
                    same_directory(fuse.substr(0, slash), own);
  if (ours) return VBD_OK;
  return fail(
      call.err, VBD_E_REFUSED, "blktap.foreign_file", 0,
      "the record of %s names %s, which does not lie in its own directory %s; nothing was touched: remove "
      "the record",
      call.request->image, fuse.c_str(), own == nullptr ? "" : own);
}

/// What is there of it, ours and not.
struct Parts {
  std::string fuse;
  std::vector<QsdProcess> processes;
  std::vector<loop::Device> loops;  ///< ours
  std::string foreign;              ///< a loop device that somebody else made on our FUSE file
};

void find_loops(const Call &call, Parts &parts) {
  loop::FileKey file;
  const bool known = loop::from_text(call.recall(kFileKey).c_str(), file);
  const std::string tag = call.request->tag == nullptr ? "" : call.request->tag;
  const std::string node = call.recall(kNodeKey);
  loop::Search search;
  if (known) search.files.push_back(file);
  search.paths.push_back(parts.fuse);
  if (!node.empty()) search.nodes.push_back(node);
  for (const loop::Device &device : loop::find(search)) {
    const bool tagged = known && loop::is_ours(device, file, tag);
    // After a lazy unmount the path of a dead file is "/": then only the record knows.
    const bool dead = (loop::is_dead(device.error) || device.error == ETIMEDOUT) &&
                      (device.backing_path == parts.fuse || device.node == node);
    if (tagged || dead) {
      parts.loops.push_back(device);
    } else if (device.backing_path == parts.fuse) {
      parts.foreign = device.node;
    }
  }
}

Parts find_parts(const Call &call) {
  Parts parts;
  parts.fuse = call.recall(kFuseKey);
  if (parts.fuse.empty()) return parts;
  parts.processes = find_qsd(parts.fuse);
  find_loops(call, parts);
  return parts;
}

void forget_all(const Call &call) {
  for (const char *key :
       {kNodeKey, kFileKey, kPidKey, kStartKey, kFuseKey, kDirectKey, kModeKey, kBackendKey})
    call.forget(key);
}

std::int32_t stop(const Call &call, const QsdProcess &process) {
  const vbd_ext_spawn *spawn = call.driver.spawn;
  if (spawn == nullptr)
    return fail(call.err, VBD_E_INTERNAL, nullptr, 0, "the host can't stop processes (%s)", VBD_EXT_SPAWN);
  return spawn->stop(call.driver.host->ctx, process.pid, process.start_time, 30000, call.err);
}

/// Also the one that a killed run had only just begun to start.
std::int32_t stop_processes(const Call &call, const Parts &parts) {
  std::vector<QsdProcess> processes = parts.processes;
  for (int waited = 0; waited < kWaitMs; waited += kStepMs) {
    for (const QsdProcess &process : processes) {
      const std::int32_t status = stop(call, process);
      if (status != VBD_OK) return status;
    }
    if (parts.fuse.empty() || !has_life(parts.fuse)) return VBD_OK;
    loop::pause_ms(kStepMs);
    processes = find_qsd(parts.fuse);
  }
  return fail(call.err, VBD_E_BUSY, "blktap.qsd_stays", 0,
              "a process that was started for %s is still there and can't be seen: fuser %s",
              parts.fuse.c_str(), life_path(parts.fuse).c_str());
}

/// Takes everything away; the loop device first, and nothing at all while it is in use.
std::int32_t take_down(const Call &call) {
  const std::int32_t believed = check_fuse(call);
  if (believed != VBD_OK) return believed;
  const Parts parts = find_parts(call);
  if (!parts.foreign.empty()) {
    return fail(call.err, VBD_E_BUSY, "blktap.foreign", 0,
                "%s was made on %s by somebody else; detach it first: losetup -d %s", parts.foreign.c_str(),
                parts.fuse.c_str(), parts.foreign.c_str());
  }
  int lost = 0;
  std::string node;
  for (const loop::Device &device : parts.loops) {
    int error = 0;
    const std::int32_t status = loop::clear(device, error, call.err, parts.processes.empty());
    if (status != VBD_OK) return status;
    if (error == 0) continue;
    lost = error;
    node = device.node;
  }
  std::int32_t stopped = stop_processes(call, parts);
  if (stopped == VBD_OK) stopped = stop_flushing(call);
  if (stopped != VBD_OK) return stopped;
  if (!parts.fuse.empty() && !remove_fuse_file(parts.fuse))
    return vbdkit::fail_errno(call.err, errno, parts.fuse.c_str());
  forget_all(call);
  return lost == 0 ? VBD_OK : loop::lost_writes(call.err, lost, node.c_str());
}

/// True when the image's filesystem takes O_DIRECT, and QEMU this image: it opens none for writing whose
/// bytes are the file's and end within a block of what direct I/O wants, which is never more than this.
constexpr off_t kDirectBlock = 4096;
bool can_direct(const Call &call, const std::string &format) {
  struct stat seen {};
  if (::fstat(call.request->image_fd, &seen) != 0) return false;
  if (format == "raw" && seen.st_size % kDirectBlock != 0) return false;
  const std::string path = "/proc/self/fd/" + std::to_string(call.request->image_fd);
  return static_cast<bool>(vbdkit::UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC)));
}

std::int32_t make_plan(const Call &call, QsdPlan &plan) {
  const Driver &driver = call.driver;
  plan.format = call.qemu();
  if (plan.format.empty())
    return fail(call.err, VBD_E_NOTSUP, "blktap.format", 0, "%s has no format that QEMU knows",
                call.request->format);
  if (driver.spawn == nullptr || driver.state == nullptr)
    return fail(call.err, VBD_E_MISSING, "blktap.no_spawn", 0, "the host can't start qemu-storage-daemon");
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    return fail(call.err, errno == EACCES ? VBD_E_PERM : VBD_E_MISSING, "blktap.fuse", errno,
                "/dev/fuse can't be used: load the kernel module fuse (modprobe fuse), as root");
  }
  if (::access("/dev/loop-control", R_OK | W_OK) != 0)
    return loop::open_failed(call.err, errno, "/dev/loop-control");
  const char *directory = driver.state->directory(driver.host->ctx);
  if (directory == nullptr)
    return fail(call.err, VBD_E_INTERNAL, nullptr, 0, "the host gave no private directory");
  plan.image = call.request->image;
  plan.fuse = std::string(directory) + "/" + kFuseName;
  loop::FileKey key;
  if (!loop::key_of(call.request->image_fd, key))
    return vbdkit::fail_errno(call.err, errno, call.request->image);
  plan.unit = kUnit + std::to_string(key.device) + "-" + std::to_string(key.inode);
  plan.read_only = call.read_only();
  plan.direct = call.direct_io() && can_direct(call, plan.format);
  if (call.direct_io() && !plan.direct && call.must(VBD_MUST_SHARED)) {
    return fail(call.err, VBD_E_REFUSED, "blktap.shared_without_direct_io", 0,
                "%s: there is no direct I/O on its filesystem or at its size, which storage that other hosts "
                "share needs (else "
                "each host caches for "
                "itself); say direct_io=false when no other host uses the image",
                call.request->image);
  }
  return VBD_OK;
}

/// What the program said at its end, where the host kept its output; why a lock failed comes before the last
/// line.
std::string last_words(const QsdPlan &plan) {
  const std::string log = plan.fuse.substr(0, plan.fuse.rfind('/') + 1) + plan.unit + ".log";
  std::string last, text = vbdkit::detail::read_line(log);
  vbdkit::detail::each_line(text, [&](std::string_view line) {
    if (!last.starts_with("qemu-storage-daemon:") || line.starts_with("qemu-storage-daemon:")) last = line;
  });
  return last.substr(0, 300);
}

std::int32_t start(const Call &call, const QsdPlan &plan, QsdProcess &process) {
  const std::vector<std::string> argv = qsd_argv(plan);
  std::vector<const char *> words;
  for (const std::string &word : argv) words.push_back(word.c_str());
  words.push_back(nullptr);
  vbd_spawn_args args = {};
  args.size = sizeof args;
  args.argv = words.data();
  args.unit = plan.unit.c_str();
  const vbdkit::UniqueFd life(take_life(plan.fuse));
  if (!life) return vbdkit::fail_errno(call.err, errno, life_path(plan.fuse).c_str());
  const vbd_fd_map fds[] = {{life.get(), 4}, {call.request->image_fd, 3}};
  args.fds = fds;
  args.n_fds = inherits_lock(plan) ? 2 : 1;
  std::int32_t status = call.driver.spawn->spawn(call.driver.host->ctx, &args, call.err);
  if (status != VBD_OK) return status;
  process = {args.pid, args.start_time};
  status = call.record(kPidKey, std::to_string(process.pid));
  return status != VBD_OK ? status : call.record(kStartKey, std::to_string(process.start_time));
}

/// Somebody else holds one of QEMU's bytes that stand against a program that writes, or that reads: from
/// offset 100 on what its holder does (reads, writes, ., resizes), from 200 on what it allows nobody else.
bool locked_elsewhere(const Call &call, bool read_only) {
  constexpr off_t kAgainstReaders[] = {101, 103, 200}, kAgainstWriters[] = {101, 103, 200, 201, 203};
  const auto held = [&](off_t byte) {
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    return ::fcntl(call.request->image_fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  };
  return read_only ? std::any_of(std::begin(kAgainstReaders), std::end(kAgainstReaders), held)
                   : std::any_of(std::begin(kAgainstWriters), std::end(kAgainstWriters), held);
}

/// Waits until the FUSE file is there, and it is the process's.
std::int32_t await_file(const Call &call, const QsdPlan &plan, const QsdProcess &process) {
  for (int waited = 0; waited < kWaitMs; waited += kStepMs) {
    struct statfs fs = {};
    constexpr auto kFuseMagic = 0x65735546;  // FUSE_SUPER_MAGIC, linux/magic.h
    if (::statfs(plan.fuse.c_str(), &fs) == 0 && fs.f_type == kFuseMagic) return VBD_OK;
    if (!alive(call, process)) {
      const std::string said = last_words(plan);
      const bool locked = locked_elsewhere(call, plan.read_only);
      return fail(call.err, locked ? VBD_E_BUSY : VBD_E_IO, "blktap.qsd_died", 0,
                  "%s: qemu-storage-daemon ended at once%s%s", plan.image.c_str(), said.empty() ? "" : ": ",
                  said.c_str());
    }
    if (call.cancelled())
      return fail(call.err, VBD_E_CANCELLED, nullptr, 0, "cancelled while qemu-storage-daemon started");
    loop::pause_ms(kStepMs);
  }
  return fail(call.err, VBD_E_TIMEOUT, "blktap.qsd_wait", 0,
              "%s: qemu-storage-daemon made no FUSE file within %d s", plan.image.c_str(), kWaitMs / 1000);
}

/// The image's bytes must be locked by the process now, and the disk must be as big as promised.
std::int32_t verify_lock(const Call &call, const QsdProcess &process) {
  const vbd_ext_lock *lock = call.driver.lock;
  if (lock == nullptr) return VBD_OK;
  const std::int32_t status = lock->held_by(call.driver.host->ctx, process.pid, call.err);
  if (status == VBD_OK || status == VBD_E_BUSY) return status;
  return fail(call.err, VBD_E_BUSY, "blktap.lock_lost", 0,
              "%s: qemu-storage-daemon did not lock the image; nothing was attached", call.request->image);
}

std::int32_t make_loop(const Call &call, const QsdPlan &plan, Condition &made) {
  const vbdkit::UniqueFd file(
      ::open(plan.fuse.c_str(), (plan.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW));
  loop::FileKey key;
  if (!file || !loop::key_of(file.get(), key)) return vbdkit::fail_errno(call.err, errno, plan.fuse.c_str());
  std::int32_t status = call.record(kFileKey, loop::to_text(key));
  if (status != VBD_OK) return status;
  loop::Device device;
  // Never direct I/O here: then writes overlap, and the FUSE export of QEMU 7.2 (mended in 2025) reads the
  // next request into the buffer of the write that it waits for (block/export/fuse.c, exp->fuse_buf): the
  // guest's data came out in the wrong places. Through the FUSE file's page cache, which lives only as long
  // as the attachment, the kernel sends one write at a time, at once.
  const loop::Wanted wanted{file.get(), call.request->tag,
                            call.request->block_size == 0 ? 512 : call.request->block_size, plan.read_only,
                            false};
  status = loop::attach(wanted, device, call.err);
  if (status != VBD_OK) return status;
  made.is = Condition::Is::whole;
  made.node = device.node;
  made.read_only = device.read_only;
  made.direct_io = plan.direct;
  made.locked = true;
  if (call.direct_io() && !plan.direct) {
    call.warn(plan.image +
              ": there is no direct I/O on its filesystem or at its size, so the host caches what the guest "
              "caches already");
  }
  return call.record(kNodeKey, device.node);
}

std::int32_t flush_now_and_then(const Call &call, const QsdProcess &process) {
  loop::FileKey key;
  if (!loop::key_of(call.request->image_fd, key))
    return vbdkit::fail_errno(call.err, errno, call.request->image);
  const std::string unit = kFlushUnit + std::to_string(key.device) + "-" + std::to_string(key.inode);
  return keep_flushing(call, call.recall(kFuseKey), unit, process);
}

std::int32_t record_plan(const Call &call, const QsdPlan &plan) {
  for (const auto &[key, value] : {std::pair<const char *, std::string>{kFuseKey, plan.fuse},
                                   {kModeKey, plan.read_only ? "ro" : "rw"},
                                   {kBackendKey, kQsd.name}}) {
    const std::int32_t status = call.record(key, value);
    if (status != VBD_OK) return status;
  }
  return VBD_OK;
}

/// The steps that an error undoes.
std::int32_t build(const Call &call, const QsdPlan &plan, Condition &made) {
  const vbdkit::UniqueFd file(::open(plan.fuse.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return vbdkit::fail_errno(call.err, errno, plan.fuse.c_str());
  if (call.driver.lock != nullptr && !inherits_lock(plan)) {
    const std::int32_t released = call.driver.lock->release(call.driver.host->ctx, call.err);
    if (released != VBD_OK) return released;
  }
  QsdProcess process;
  std::int32_t status = start(call, plan, process);
  if (status == VBD_OK) status = await_file(call, plan, process);
  if (status == VBD_OK) status = verify_lock(call, process);
  if (status == VBD_OK) status = make_loop(call, plan, made);
  return status == VBD_OK && !plan.read_only ? flush_now_and_then(call, process) : status;
}

std::int32_t attach(const Call &call, Condition &made) {
  QsdPlan plan;
  std::int32_t status = make_plan(call, plan);
  if (status == VBD_OK) status = record_plan(call, plan);
  if (status != VBD_OK) return status;
  status = build(call, plan, made);
  if (status == VBD_OK) return VBD_OK;
  const Quiet quiet(call);
  if (take_down(quiet()) != VBD_OK)
    call.warn(std::string(call.request->image) + ": not all could be undone: " + quiet.text());
  if (call.driver.lock != nullptr && !inherits_lock(plan) &&
      call.driver.lock->restore(call.driver.host->ctx, quiet().err) != VBD_OK) {
    call.warn(std::string(call.request->image) + ": its lock could not be taken again: " + quiet.text());
  }
  return status;
}

std::int32_t query(const Call &call, Condition &found) {
  const std::int32_t believed = check_fuse(call);
  if (believed != VBD_OK) return believed;
  const Parts parts = find_parts(call);
  const bool life = !parts.fuse.empty() && has_life(parts.fuse);
  if (parts.processes.empty() && parts.loops.empty() && parts.foreign.empty() && !life &&
      !is_mounted(parts.fuse))
    return VBD_OK;
  found.is = Condition::Is::part;
  found.read_only = call.recall(kModeKey) == "ro";
  if (!parts.loops.empty()) found.node = parts.loops[0].node;
  if (parts.processes.empty() && life) {
    found.why = "qemu-storage-daemon was being started when vbd ended";
  } else if (parts.processes.empty()) {
    found.why = "qemu-storage-daemon has ended" +
                (found.node.empty() ? std::string() : ", so " + found.node + " can't read or write");
  } else if (parts.loops.empty()) {
    found.why = "the loop device on " + parts.fuse + " is gone";
  } else if (parts.loops.size() > 1 || parts.processes.size() > 1) {
    found.why = "it is there more than once";
  } else if (parts.loops[0].error != 0) {
    found.why = found.node + " can't be looked at: " + std::strerror(parts.loops[0].error);
  } else {
    found.is = Condition::Is::whole;
    found.read_only = parts.loops[0].read_only;
    found.direct_io = call.recall(kDirectKey) == "on";
    found.locked = true;
  }
  return VBD_OK;
}

std::int32_t detach(const Call &call) {
  if (!call.must(VBD_MUST_DRY_RUN)) return take_down(call);
  const std::int32_t believed = check_fuse(call);
  if (believed != VBD_OK) return believed;
  for (const loop::Device &device : find_parts(call).loops) {
    const std::int32_t status = refuse_busy(call, device.node);
    if (status != VBD_OK) return status;
  }
  return VBD_OK;
}

std::int32_t again(const Call &call) {
  return call.read_only() ? VBD_OK : flush_now_and_then(call, recorded_process(call));
}

}  // namespace

const Backend kQsd = {"qsd", attach, detach, query, again};

}  // namespace blktap
