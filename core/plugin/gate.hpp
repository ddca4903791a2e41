// SPDX-License-Identifier: MIT
// Keeps the image calls of one plugin apart as the ABI wants it: "one call at a time per plugin, never
// re-entered, except image calls that the filetype declared parallel". Any thread.
#pragma once

#include <condition_variable>
#include <mutex>

namespace vbd::plugin {

class Gate {
 public:
  /// Held for the time of one call, on the stack of the thread that makes it.
  class Pass {
   public:
    Pass(const Pass &) = delete;
    Pass &operator=(const Pass &) = delete;
    ~Pass();

   private:
    friend class Gate;
    Pass(Gate &gate, bool alone);
    Gate &gate_;
    const Pass *outer_;  // the thread's passes before this one
    bool alone_;
    bool nested_;  // the thread is inside already: a call that a call of the same plugin led to
  };

  Gate() = default;
  Gate(const Gate &) = delete;
  Gate &operator=(const Gate &) = delete;
  /// `alone`: waits until nobody is inside, and keeps the others out; else only waits for such a one.
  [[nodiscard]] Pass enter(bool alone) { return {*this, alone}; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned inside_ = 0, want_alone_ = 0;
  bool alone_ = false;
};

}  // namespace vbd::plugin
