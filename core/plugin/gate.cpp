// SPDX-License-Identifier: MIT
#include "core/plugin/gate.hpp"

namespace vbd::plugin {
namespace {
thread_local const Gate::Pass *t_newest = nullptr;
}  // namespace

Gate::Pass::Pass(Gate &gate, bool alone) : gate_(gate), outer_(t_newest), alone_(alone), nested_(false) {
  for (const Pass *pass = outer_; pass != nullptr && !nested_; pass = pass->outer_)
    nested_ = &pass->gate_ == &gate;
  t_newest = this;
  if (nested_) return;
  std::unique_lock<std::mutex> lock(gate.mutex_);
  if (alone) {
    ++gate.want_alone_;
    gate.changed_.wait(lock, [&] { return gate.inside_ == 0 && !gate.alone_; });
    --gate.want_alone_;
    gate.alone_ = true;
  } else {
    gate.changed_.wait(lock, [&] { return !gate.alone_ && gate.want_alone_ == 0; });
    ++gate.inside_;
  }
}

Gate::Pass::~Pass() {
  t_newest = outer_;
  if (nested_) return;
  bool tell = false;
  {
    const std::lock_guard<std::mutex> lock(gate_.mutex_);
    if (alone_) {
      gate_.alone_ = false;
    } else {
      --gate_.inside_;
    }
    tell = alone_ || gate_.want_alone_ != 0;
  }
  if (tell) gate_.changed_.notify_all();
}

}  // namespace vbd::plugin
