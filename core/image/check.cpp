// SPDX-License-Identifier: MIT
#include "core/base/text.hpp"
#include "core/image/image.hpp"
#include "core/sys/host_file.hpp"

namespace vbd::image {
namespace {

constexpr int kMostFindings = 64;

CheckResult result_of(const plugin::Facts &facts) {
  CheckResult result;
  result.leaks = facts.number("leaks");
  result.errors = facts.number("errors");
  for (int i = 0; i < kMostFindings; ++i) {
    const std::string key = text::cat("finding.", i);
    if (facts.find(key) == nullptr) break;
    result.findings.push_back(facts.text(key));
  }
  return result;
}

/// One call of the filetype's check. An image that is too damaged to be looked at is an Error.
Result<CheckResult> check_once(plugin::Plugin &filetype, const sys::HostFile &file, const std::string &path,
                               std::uint32_t must) {
  plugin::Request request;
  request.image = path;
  request.file = file.file();
  request.must = must;
  plugin::CallContext context;
  auto facts = filetype.call(filetype.filetype()->check, "check", request, &context);
  if (facts) return result_of(*facts);
  if (context.status != VBD_E_CORRUPT || context.told.number("errors") == 0)
    return facts.error().at(text::printable(path));
  CheckResult result = result_of(context.told);
  result.reason = facts.error().id();
  result.message = facts.error().message();
  return result;
}

}  // namespace

Result<CheckResult> check(plugin::Registry &registry, const Constant &filetype, int fd,
                          const std::string &path, Repair repair) {
  VBD_TRY_ASSIGN(auto plugin, registry.load(filetype));
  const sys::HostFile file(fd, repair == Repair::none ? std::uint32_t{VBD_FILE_READONLY} : 0u);
  if (repair == Repair::none) return check_once(*plugin, file, path, 0);
  auto first =
      check_once(*plugin, file, path,
                 VBD_MUST_EXCLUSIVE | (repair == Repair::all ? VBD_MUST_REPAIR_ALL : VBD_MUST_REPAIR_LEAKS));
  if (!first) return first;
  if (auto synced = sys::sync_fd(fd); !synced) return synced.error().at(text::printable(path));
  auto left = check_once(*plugin, file, path, 0);
  if (left) left->findings = std::move(first->findings);
  return left;
}

Result<void> resize(plugin::Registry &registry, const Constant &filetype, int fd, const std::string &path,
                    std::uint64_t bytes, bool shrink) {
  VBD_TRY(check_image_size(bytes, text::printable(path)));
  auto plugin = registry.load(filetype);
  if (!plugin) return plugin.error();
  const sys::HostFile file(fd);
  plugin::Request request;
  request.image = path;
  request.file = file.file();
  request.bytes = bytes;
  request.must = VBD_MUST_EXCLUSIVE | (shrink ? std::uint32_t{VBD_MUST_SHRINK} : 0u);
  auto done = (*plugin)->call((*plugin)->filetype()->resize, "resize", request);
  if (!done) return done.error().at(text::printable(path));
  if (auto synced = sys::sync_fd(fd); !synced) return synced.error().at(text::printable(path));
  return {};
}

}  // namespace vbd::image
