// SPDX-License-Identifier: MIT
#include "manager/hypervisor/qmp.hpp"

#include "core/base/text.hpp"

namespace vbd::hypervisor {
namespace {

/// A guest that sends events all the time must not keep us.
constexpr int kMostEvents = 1000;

}  // namespace

Result<Qmp> Qmp::open(const std::string &socket, std::chrono::milliseconds patience) {
  VBD_TRY_ASSIGN(auto connected, sys::LineSocket::connect(socket, patience));
  Qmp qmp(std::move(connected));
  VBD_TRY(qmp.socket_.read_line(patience));
  VBD_TRY(qmp.execute(R"({"execute": "qmp_capabilities"})", patience));
  return qmp;
}

Result<json::Value> Qmp::execute(const std::string &command, std::chrono::milliseconds patience) {
  VBD_TRY(socket_.write_line(command, patience));
  for (int i = 0; i < kMostEvents; ++i) {
    VBD_TRY_ASSIGN(auto line, socket_.read_line(patience));
    auto answer = read_qmp_answer(line, command);
    if (!answer) return answer.error();
    if (*answer) return **std::move(answer);
  }
  return Error(sys::kHelperTimeout, "QEMU's monitor: nothing but events");
}

Result<std::string> qmp_status(const std::string &socket, std::chrono::milliseconds patience) {
  VBD_TRY_ASSIGN(auto qmp, Qmp::open(socket, patience));
  VBD_TRY_ASSIGN(auto answer, qmp.execute(R"({"execute": "query-status"})", patience));
  return read_qmp_status(answer);
}

Result<std::optional<json::Value>> read_qmp_answer(std::string_view line, std::string_view command) {
  auto answer = json::parse(line);
  if (!answer) return answer.error().at("QEMU's monitor");
  if (const json::Value *returned = answer->find("return")) return std::optional(*returned);
  const json::Value *error = answer->find("error");
  if (error == nullptr) return std::optional<json::Value>{};
  const json::Value *why = error->find("desc");
  const bool said = why != nullptr && why->as_string() != nullptr;
  return Error(kRefusedByGuest,
               text::cat("QEMU refused ", text::printable(command), ": ",
                         said ? text::printable(*why->as_string()) : std::string("no reason given")));
}

Result<std::string> read_qmp_status(const json::Value &answer) {
  const json::Value *status = answer.find("status");
  if (status == nullptr || status->as_string() == nullptr) {
    return Error(kRefusedByGuest, "QEMU's monitor: query-status without a status");
  }
  return *status->as_string();
}

}  // namespace vbd::hypervisor
