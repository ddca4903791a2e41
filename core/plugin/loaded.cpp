// SPDX-License-Identifier: MIT
#include "core/plugin/loaded.hpp"

#include "core/base/text.hpp"
#include "core/plugin/call.hpp"
#include "core/plugin/describe.hpp"
#include "core/plugin/host_services.hpp"
#include "core/plugin/library.hpp"

namespace vbd::plugin {
namespace {

class LoadedPlugin final : public Plugin {
 public:
  LoadedPlugin(const Found &found, Description description, sys::Runner &runner)
      : found_(found),
        description_(std::move(description)),
        services_(found.note.constant, found.note.kind, found.path.substr(0, found.path.rfind('/')), runner) {
    if (description_.has_image) description_.filetype.image = &description_.image;
  }
  ~LoadedPlugin() override;

  Result<void> configure(const config::Settings &settings);
  Result<void> init();

  const Note &note() const override { return found_.note; }
  const std::string &path() const override { return found_.path; }
  const std::vector<OptionInfo> &options() const override { return description_.options; }
  const vbd_driver_ops *driver() const override {
    return found_.note.kind == PluginKind::driver ? &description_.driver : nullptr;
  }
  const vbd_filetype_ops *filetype() const override {
    return found_.note.kind == PluginKind::filetype ? &description_.filetype : nullptr;
  }
  void *self() const override { return self_; }
  Result<Facts> call(vbd_op op, std::string_view name, const Request &request, CallContext *context) override;
  Result<Values> image_params(const Values &given, const std::string &where, bool creating) const override;

 private:
  Values init_values() const;

  Found found_;
  Description description_;
  HostServices services_;
  Values configured_;  // checked
  void *self_ = nullptr;
  bool initialised_ = false;
};

LoadedPlugin::~LoadedPlugin() {
  bool thrown = false;  // at the end of the process there is nobody to tell
  if (initialised_) call_out(thrown, description_.plugin.fini, self_);
}

Result<void> LoadedPlugin::configure(const config::Settings &settings) {
  const auto section = settings.plugins.find(found_.note.constant);
  if (section != settings.plugins.end()) {
    for (const auto &[name, option] : section->second) {
      const std::string where = text::cat(option.mark.str(), ": plugins.", found_.note.constant);
      VBD_TRY_ASSIGN(auto value, check_named(options(), name, option.value, where));
      configured_.emplace(name, value);
    }
  }
  for (const OptionInfo &option : options()) {
    if (!option.required || option.per_image || configured_.contains(option.name)) continue;
    return Error(
        kMissingOption,
        text::cat(found_.note.constant, ": option ", option.name, " (", option.help, ") is not configured"),
        text::cat("set plugins.", found_.note.constant, ".", option.name, " in the configuration"));
  }
  return {};
}

Values LoadedPlugin::init_values() const {
  Values values = configured_;
  for (const OptionInfo &option : options()) {
    if (option.has_default && !option.per_image) values.emplace(option.name, option.default_value);
  }
  return values;
}

Result<void> LoadedPlugin::init() {
  const Values values = init_values();
  const std::vector<vbd_kv> config = as_kv(values);
  ErrorBuffer error;
  bool thrown = false;
  const int32_t status = call_out(thrown, description_.plugin.init, services_.host(), config.data(),
                                  static_cast<uint32_t>(config.size()), &self_, error.get());
  if (thrown) return Error(kInitFailed, text::cat(text::printable(path()), ": init threw an exception"));
  if (status != VBD_OK) {
    const Error why = status_error(status, error.read(), found_.note.constant, "init");
    return Error(kInitFailed, text::cat(text::printable(path()), ": ", why.message()));
  }
  initialised_ = true;
  return {};
}

Result<Facts> LoadedPlugin::call(vbd_op op, std::string_view name, const Request &request,
                                 CallContext *context) {
  const std::string &constant = found_.note.constant;
  if (op == nullptr) {
    return Error(kNoOperation, text::cat(constant, " has no operation ", name),
                 "vbd plugin show lists what a plugin can do");
  }
  Facts facts;
  vbd_sink sink = make_sink(facts);
  const RawRequest raw(request);
  ErrorBuffer error;
  bool thrown = false;
  int32_t status = VBD_OK;
  {
    const HostServices::Call during(services_, context);
    status = call_out(thrown, op, self_, raw.get(), &sink, error.get());
  }
  if (context != nullptr) {
    context->status = thrown ? std::int32_t{VBD_E_INTERNAL} : status;
    if (status != VBD_OK) context->told = std::move(facts);
  }
  if (thrown) return Error(kInternal, text::cat(constant, ": ", name, ": threw an exception"));
  if (status != VBD_OK) {
    const std::string what = request.image.empty() ? std::string(name) : text::cat(name, " ", request.image);
    return status_error(status, error.read(), constant, what);
  }
  return facts;
}

Result<Values> LoadedPlugin::image_params(const Values &given, const std::string &where,
                                          bool creating) const {
  const std::string &constant = found_.note.constant;
  Values values;
  for (const auto &[name, value] : given) {
    VBD_TRY_ASSIGN(auto checked, check_named(options(), name, value, where));
    if (!find_option(options(), name)->per_image) {
      return Error(
          kBadOption,
          text::cat(where, ": option ", name, " of ", constant, " is for the whole host, not for one image"),
          text::cat("set plugins.", constant, ".", name, " in the configuration"));
    }
    values.emplace(name, checked);
  }
  for (const OptionInfo &option : options()) {
    if (!option.per_image || values.contains(option.name) || (option.create_only && !creating)) continue;
    const auto configured = configured_.find(option.name);
    if (configured != configured_.end()) {
      values.emplace(option.name, configured->second);
    } else if (option.has_default) {
      values.emplace(option.name, option.default_value);
    } else if (option.required) {
      return Error(kMissingOption,
                   text::cat(where, ": ", constant, " needs option ", option.name, " (", option.help, ")"));
    }
  }
  return values;
}

}  // namespace

Result<std::unique_ptr<Plugin>> load_plugin(const Found &found, const config::Settings &settings,
                                            sys::Runner &runner) {
  VBD_TRY_ASSIGN(auto given, load_library(found.path));
  VBD_TRY_ASSIGN(auto description, describe(given, found.note, found.path));
  auto loaded = std::make_unique<LoadedPlugin>(found, std::move(description), runner);
  VBD_TRY(loaded->configure(settings));
  VBD_TRY(loaded->init());
  return std::unique_ptr<Plugin>(std::move(loaded));
}

}  // namespace vbd::plugin
