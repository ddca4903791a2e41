// SPDX-License-Identifier: MIT
#include "driver.hpp"

namespace blktap {

bool Call::direct_io() const {
  return std::string_view(vbdkit::param(request, "direct_io", driver.direct_io ? "true" : "false")) == "true";
}

std::string Call::plain_property(const char *name) const {
  const std::string value = vbdkit::property(request, name, "");
  const bool plain = value.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") == std::string::npos;
  return plain ? value : std::string();
}

std::string Call::recall(const char *key) const {
  const char *value = driver.state == nullptr ? nullptr : driver.state->get(driver.host->ctx, key);
  return value == nullptr ? "" : value;
}

std::int32_t Call::record(const char *key, const std::string &value) const {
  if (driver.state == nullptr) {
    return vbdkit::fail(err, VBD_E_INTERNAL, nullptr, 0, "the host keeps no record of attachments (%s)",
                        VBD_EXT_STATE);
  }
  return driver.state->put(driver.host->ctx, key, value.c_str(), err);
}

void Call::forget(const char *key) const {
  if (recall(key).empty()) return;
  const Quiet quiet(*this);
  driver.state->put(driver.host->ctx, key, nullptr, quiet().err);
}

void Call::warn(const std::string &text) const {
  if (driver.host->log != nullptr) driver.host->log(driver.host->ctx, VBD_LOG_WARN, text.c_str());
}

bool Call::cancelled() const {
  return driver.host->progress != nullptr && driver.host->progress(driver.host->ctx, 0, 0) != 0;
}

std::int32_t Call::run(const std::vector<std::string> &argv, std::string &out, int &exit_status) const {
  if (driver.run == nullptr) {
    return vbdkit::fail(err, VBD_E_MISSING, "blktap.no_runner", 0, "the host can't run %s for this driver",
                        argv[0].c_str());
  }
  std::vector<const char *> words;
  for (const std::string &word : argv) words.push_back(word.c_str());
  words.push_back(nullptr);
  std::vector<char> buffer(65536);
  vbd_run_args args = {};
  args.size = sizeof args;
  args.argv = words.data();
  args.out = buffer.data();
  args.out_cap = static_cast<std::uint32_t>(buffer.size());
  if (err != nullptr && err->msg != nullptr && err->msg_cap > 0) err->msg[0] = '\0';
  const std::int32_t status = driver.run->run(driver.host->ctx, &args, err);
  out = buffer.data();
  exit_status = args.exit_status;
  return status;
}

std::int32_t Call::helper_failed(std::int32_t status, const char *what, int exit_status) const {
  const std::string said = err == nullptr || err->msg == nullptr ? "" : err->msg;
  return vbdkit::fail(err, status, "blktap.helper", 0, "%s: %s failed with exit status %d%s%s",
                      request->image, what, exit_status, said.empty() ? "" : ": ", said.c_str());
}

bool is_block_device(const std::string &path) {
  struct stat st = {};
  return !path.empty() && ::stat(path.c_str(), &st) == 0 && S_ISBLK(st.st_mode);
}

std::int32_t refuse_busy(const Call &call, const std::string &node) {
  std::vector<std::string> who;
  for (int attempt = 0; attempt < 10; ++attempt) {  // udev looks at every device for a moment
    const vbdkit::UniqueFd fd(::open(node.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
    const bool claimed = !fd && errno == EBUSY;
    who = vbdkit::node_use::claims(node);
    if (!who.empty()) break;
    who = vbdkit::node_use::openers(node, fd.get());
    if (who.empty() && claimed) who.emplace_back("held by somebody who can't be seen from here");
    if (who.empty()) return VBD_OK;
    vbdkit::loop::pause_ms(50);
  }
  return vbdkit::fail(call.err, VBD_E_BUSY, "blktap.in_use", EBUSY, "%s is in use: %s", node.c_str(),
                      vbdkit::detail::join(who).c_str());
}

bool host_runs_xen() {
  const std::string capabilities = vbdkit::detail::read_line("/proc/xen/capabilities");
  if (!capabilities.empty()) return capabilities.find("control_d") != std::string::npos;
  return vbdkit::detail::read_line("/sys/hypervisor/type") == "xen";
}

}  // namespace blktap
