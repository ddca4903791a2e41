// SPDX-License-Identifier: MIT
#include "manager/backup/script_dumps.hpp"

#include <new>
#include <system_error>
#include <thread>

#include "core/plugin/plugin.hpp"
#include "core/sys/errors.hpp"

namespace vbd::backup {

Result<std::unique_ptr<ScriptDumps>> ScriptDumps::begin(const os::Call &call,
                                                        const os::Definition &definition,
                                                        const os::Guest &guest) {
  std::unique_ptr<ScriptDumps> made(new ScriptDumps(call, definition, guest));
  auto pipe = sys::make_bulk_pipe();
  if (!pipe) return pipe.error();
  auto cancel = sys::either_readable(call.cancel, pipe->read.get());
  if (!cancel) return cancel.error();
  made->stop_ = *std::move(pipe);
  made->cancel_ = *std::move(cancel);
  return made;
}

void ScriptDumps::stop() {
  if (!stopped_.exchange(true)) stop_.write.reset();
}

/// A script that was ended for another one's sake has no error of its own.
Error ScriptDumps::told(const Error &error) const {
  return stopped_ && error.is(sys::kHelperCancelled) ? Error(plugin::kCancelled, "stopped") : error;
}

Result<Moved> ScriptDumps::side_by_side(const Script &script, const std::function<void()> &script_ended,
                                        const std::function<Result<Moved>(const Watch &)> &moving,
                                        const Watch &watch, Result<void> &ended) {
  os::Call call = call_;
  call.cancel = cancel_.get();
  std::atomic<bool> own{false};
  const auto run = [&] {
    try {
      ended = script(call);
    } catch (const std::bad_alloc &) {
      ended = Error(plugin::kInternal, "out of memory");
    }
    if (!ended) {
      ended = told(ended.error());
      // A script's failure may be its dump's: that is read to its end.
      own = !ended.error().is(plugin::kCancelled) && !ended.error().is(sys::kHelperCancelled);
      stop();
    }
    script_ended();
  };
  std::thread thread;
  try {
    thread = std::thread(run);
  } catch (const std::system_error &failed) {
    return Error(plugin::kInternal, std::string("start a thread: ") + failed.what());
  }
  const Watch mine = [&](std::uint64_t done, std::uint64_t total) {
    return (stopped_ && !own) || (watch && watch(done, total));
  };
  Result<Moved> moved = Error(plugin::kInternal, "out of memory");
  try {
    moved = moving(mine);
  } catch (const std::bad_alloc &) {
    moved = Error(plugin::kInternal, "out of memory");
  }
  if (!moved) stop();
  thread.join();
  return moved;
}

Result<Moved> ScriptDumps::save(std::size_t index, Sink &sink, const Watch &watch) {
  VBD_TRY_ASSIGN(auto dump, sys::make_bulk_pipe());
  VBD_TRY_ASSIGN(auto size, sys::make_bulk_pipe());
  Result<void> ended;
  const os::ExportSpec spec{index, guest_.devices.at(index), dump.write.get(), size.write.get()};
  auto moved =
      side_by_side([&](const os::Call &call) { return os::run_export(call, definition_, guest_, spec); },
                   [&] { dump.write.reset(); },
                   [&](const Watch &mine) -> Result<Moved> {
                     const auto source = pipe_source(dump.read.get(), size.read.get());
                     auto done = transfer(*source, sink, mine);
                     dump.read.reset();  // the script need not write what nobody stores
                     return done;
                   },
                   watch, ended);
  if (!moved && !moved.error().is(plugin::kCancelled)) return moved.error();
  if (!ended) return ended.error();
  return moved;
}

Result<void> ScriptDumps::restore(std::size_t index, Source &source, const Check &check, const Watch &watch) {
  VBD_TRY_ASSIGN(auto dump, sys::make_bulk_pipe());
  Result<void> ended;
  const os::ImportSpec spec{index, dump.read.get()};
  auto moved =
      side_by_side([&](const os::Call &call) { return os::run_import(call, definition_, guest_, spec); },
                   [&] { dump.read.reset(); },
                   [&](const Watch &mine) -> Result<Moved> {
                     const auto sink = pipe_sink(dump.write.get());
                     auto done = transfer(source, *sink, mine);
                     dump.write.reset();
                     return done;
                   },
                   watch, ended);
  if (!moved && !moved.error().is(plugin::kCancelled)) return moved.error();
  if (moved) {
    if (auto good = check(*moved); !good) {
      stop();
      return good;
    }
  }
  if (!ended) return ended.error();
  return moved ? Result<void>() : moved.error();
}

Result<void> at_unless_script(const Result<void> &result, std::string_view where) {
  if (result || result.error().is(os::kScriptFailed) || result.error().is(sys::kHelperCancelled))
    return result;
  return result.error().at(where);
}

}  // namespace vbd::backup
