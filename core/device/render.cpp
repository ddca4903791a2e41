// SPDX-License-Identifier: MIT
// Rendering is cheap: a flat image's string depends on nothing in it, so its filetype is not even loaded.
#include "core/base/text.hpp"
#include "core/device/disk.hpp"

namespace vbd::device {
namespace {

struct Subject {
  std::map<std::string, std::string> properties;
  std::string node;  ///< when attached
};

bool is_flat(const plugin::Note &note) {
  const auto flat = note.properties.find("flat");
  return flat != note.properties.end() && flat->second == "1";
}

/// The image's own properties, from its header.
Result<std::map<std::string, std::string>> read_properties(const Context &context, const LogicalId &id,
                                                           int image, const plugin::Plugin &driver,
                                                           const plugin::Note &note) {
  VBD_TRY(sys::lock_image(image, sys::ImageLockMode::inspect, id.path));
  VBD_TRY_ASSIGN(auto info, image::info(context.registry, id.filetype, image, id.path));
  VBD_TRY(image::check_references(info, context.settings, id.path));
  const std::string unmet = plugin::unmet_need(driver.note(), note, info.properties);
  if (!unmet.empty()) {
    return Error(plugin::kNotPaired, text::cat(text::printable(id.path), ": ", id.driver.str(), " ", unmet));
  }
  return info.properties;
}

Result<Subject> look_at(const Context &context, const LogicalId &id, const plugin::Plugin &driver) {
  VBD_TRY_ASSIGN(auto filetype, context.registry.find(id.filetype));
  const bool flat = is_flat(filetype.note);
  const auto allowed = sys::resolve_allowed(context.settings.allowed_dirs);
  VBD_TRY_ASSIGN(auto confined, sys::confine(id.path, allowed));

  Subject subject{filetype.note.properties, {}};
  auto image = sys::open_image_below(confined, allowed, sys::Access::read);
  if (!image) {
    // A flat image's string can be written before the image exists, and by users who may not read it.
    const bool fine = image.error().is(sys::kNotFound) || image.error().is(sys::kPermission);
    if (flat && fine) return subject;
    return image.error();
  }
  auto info = sys::file_info(image->get());
  if (!info) return info.error().at(text::printable(id.path));
  auto record = Records(context.settings.run_dir).find(info->id);
  if (!record) return record.error();
  if (*record && (*record)->phase == Record::Phase::attached && (*record)->driver == id.driver.str() &&
      (*record)->filetype == id.filetype.str()) {
    subject.node = (*record)->node;
    if (!subject.node.empty()) {
      const std::string own = Records(context.settings.run_dir).state_directory(info->id);
      VBD_TRY(check_node({driver, confined, info->id, own, subject.node, "its record"}));
    }
    if (!flat) subject.properties = (*record)->properties;  // its lock keeps readers of the header away
    return subject;
  }
  if (flat) return subject;
  VBD_TRY_ASSIGN(auto properties, read_properties(context, id, image->get(), driver, filetype.note));
  subject.properties = std::move(properties);
  return subject;
}

/// The dialect is unknown to the driver: every hypervisor takes a device node.
Result<std::string> node_instead(const Context &context, const RenderSpec &spec, const std::string &why) {
  auto status = query(context, spec.id);
  if (status && status->state == Status::State::attached) return status->attachment.node;
  return Error(kDialect,
               text::cat(text::printable(spec.id.path), ": ", spec.id.driver.str(),
                         " writes no disk string for dialect ", text::printable(spec.dialect),
                         " and the disk is not attached", why.empty() ? "" : ": ", why),
               "attach it first: then its device node is used");
}

}  // namespace

Result<std::string> render(const Context &context, const RenderSpec &spec) {
  VBD_TRY(check_image_path(spec.id.path));
  VBD_TRY(context.registry.check_pairing(spec.id));
  VBD_TRY_ASSIGN(auto driver, context.registry.load(spec.id.driver));
  VBD_TRY_ASSIGN(auto params, driver->image_params(spec.options, text::printable(spec.id.path)));
  VBD_TRY_ASSIGN(auto subject, look_at(context, spec.id, *driver));
  if (driver->driver()->render == nullptr) return node_instead(context, spec, {});

  plugin::Request request;
  if (spec.read_only) request.must |= VBD_MUST_READONLY;
  request.image = spec.id.path;
  request.format = spec.id.filetype.str();
  request.tag = text::cat("vbdkit:", spec.id.driver.str());
  request.properties = std::move(subject.properties);
  request.params = std::move(params);
  request.dialect = spec.dialect;
  request.vdev = spec.vdev;
  request.node = subject.node;
  plugin::CallContext call;
  auto facts = driver->call(driver->driver()->render, "render", request, &call);
  if (facts) return facts->text("disk");
  if (call.status == VBD_E_NOTSUP) return node_instead(context, spec, facts.error().message());
  return facts.error();
}

}  // namespace vbd::device
