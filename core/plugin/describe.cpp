// SPDX-License-Identifier: MIT
#include "core/plugin/describe.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <set>
#include <utility>

#include "core/base/text.hpp"
#include "core/plugin/plugin.hpp"

namespace vbd::plugin {
namespace {

// Sizes as of 1.0. Fields are only appended, so nothing shorter is a struct of ours; nothing sane is over a
// page.
constexpr uint32_t kPluginSize = offsetof(vbd_plugin, get_extension) + sizeof(void *);
constexpr uint32_t kDriverSize = offsetof(vbd_driver_ops, deactivate) + sizeof(void *);
constexpr uint32_t kFiletypeSize = offsetof(vbd_filetype_ops, image) + sizeof(void *);
constexpr uint32_t kImageSize = offsetof(vbd_image_ops, commit) + sizeof(void *);
constexpr uint32_t kLargest = 4096;
constexpr std::size_t kMaxStructText = 1024;

using Ops = std::set<std::string>;

class Describer {
 public:
  Describer(const Note &note, const std::string &path) : note_(note), path_(path) {}

  Result<Description> run(const vbd_plugin *given);

 private:
  Error error(const ErrorKind &kind, std::string_view why) const {
    return Error(kind, text::cat(text::printable(path_), ": ", why));
  }
  template <class T>
  Result<void> copy(T &to, const T *from, uint32_t least, std::string_view name) const;
  Result<void> check_versions() const;
  Result<void> check_strings() const;
  Result<void> check_note() const;
  Result<void> copy_ops();
  Result<void> copy_image();
  Result<void> check_ops() const;

  const Note &note_;
  const std::string &path_;
  Description out_;
};

template <class T>
Result<void> Describer::copy(T &to, const T *from, uint32_t least, std::string_view name) const {
  uint32_t size = 0;
  std::memcpy(&size, from, sizeof size);
  if (size < least) return error(kBadSize, text::cat(name, " says size ", size, ", ABI 1.0 has ", least));
  if (size > kLargest) return error(kBadSize, text::cat(name, " says size ", size, ", more than ", kLargest));
  std::memcpy(&to, from, std::min<std::size_t>(size, sizeof to));
  return {};
}

Result<void> Describer::check_versions() const {
  const vbd_plugin &p = out_.plugin;
  if (p.abi_major != VBD_ABI_MAJOR) {
    return error(kAbiMajor,
                 text::cat("its struct is of ABI ", p.abi_major, ", this vbd has ABI ", VBD_ABI_MAJOR));
  }
  if (p.min_host_minor > VBD_ABI_MINOR) {
    return error(kTooNew, text::cat("needs a host of ABI ", VBD_ABI_MAJOR, ".", p.min_host_minor,
                                    " or later, this vbd has ", VBD_ABI_MAJOR, ".", VBD_ABI_MINOR));
  }
  if (p.flags != 0) return error(kBadStruct, text::cat("vbd_plugin.flags is ", p.flags, ", must be 0"));
  if (p.kind != VBD_KIND_DRIVER && p.kind != VBD_KIND_FILETYPE) {
    return error(kBadStruct, text::cat("vbd_plugin.kind is ", p.kind, ", neither driver nor filetype"));
  }
  if (p.init == nullptr || p.fini == nullptr) return error(kBadStruct, "vbd_plugin.init or .fini is NULL");
  return {};
}

Result<void> Describer::check_strings() const {
  const vbd_plugin &p = out_.plugin;
  const std::array<std::pair<const char *, const char *>, 6> strings{{{"constant", p.constant},
                                                                      {"name", p.name},
                                                                      {"version", p.version},
                                                                      {"license", p.license},
                                                                      {"summary", p.summary},
                                                                      {"url", p.url}}};
  for (const auto &[field, value] : strings) {
    if (value == nullptr) return error(kBadStruct, text::cat("vbd_plugin.", field, " is NULL"));
    if (::strnlen(value, kMaxStructText) == kMaxStructText || !text::is_printable_utf8(value)) {
      return error(kBadStruct, text::cat("vbd_plugin.", field, " is not one line of text"));
    }
  }
  return {};
}

/// What the note said decided until here: a struct that says otherwise was not what was checked. abi_minor is
/// not compared: a source for 1.0 whose note is literal must go on loading when it is compiled with a later
/// header.
Result<void> Describer::check_note() const {
  const vbd_plugin &p = out_.plugin;
  const std::string kind = p.kind == VBD_KIND_DRIVER ? "driver" : "filetype";
  const std::string noted_kind = note_.kind == PluginKind::driver ? "driver" : "filetype";
  const std::array<std::array<std::string, 3>, 5> facts{
      {{"constant", p.constant, note_.constant},
       {"kind", kind, noted_kind},
       {"name", p.name, note_.name},
       {"version", p.version, note_.version},
       {"min_host_minor", std::to_string(p.min_host_minor), std::to_string(note_.min_host_minor)}}};
  for (const auto &[field, in_struct, in_note] : facts) {
    if (in_struct == in_note) continue;
    return error(kMismatch, text::cat(field, " is ", in_struct, " in its struct, ", in_note, " in its note"));
  }
  return {};
}

Result<void> Describer::copy_ops() {
  const vbd_plugin &p = out_.plugin;
  const bool driver = p.kind == VBD_KIND_DRIVER;
  if (driver ? p.driver == nullptr : p.filetype == nullptr) {
    return error(kBadStruct,
                 driver ? "a driver without vbd_plugin.driver" : "a filetype without vbd_plugin.filetype");
  }
  if (driver ? p.filetype != nullptr : p.driver != nullptr)
    return error(kBadStruct, "both driver and filetype are set");
  if (driver) {
    VBD_TRY(copy(out_.driver, p.driver, kDriverSize, "vbd_driver_ops"));
    if (out_.driver.reserved != 0) return error(kBadStruct, "vbd_driver_ops.reserved is not 0");
    return {};
  }
  VBD_TRY(copy(out_.filetype, p.filetype, kFiletypeSize, "vbd_filetype_ops"));
  if (out_.filetype.reserved != 0) return error(kBadStruct, "vbd_filetype_ops.reserved is not 0");
  return copy_image();
}

Result<void> Describer::copy_image() {
  if (out_.filetype.image == nullptr) return {};
  out_.has_image = true;
  VBD_TRY(copy(out_.image, out_.filetype.image, kImageSize, "vbd_image_ops"));
  const vbd_image_ops &i = out_.image;
  if (i.open == nullptr || i.close == nullptr || i.geometry == nullptr || i.map == nullptr ||
      i.read == nullptr) {
    return error(kBadStruct, "vbd_image_ops lacks one of open, close, geometry, map, read");
  }
  if ((i.reserve == nullptr) != (i.commit == nullptr)) {
    return error(kBadStruct, "vbd_image_ops has one of reserve and commit without the other");
  }
  return {};
}

template <class Op>
void note_op(Ops &known, Ops &present, const char *name, Op op) {
  known.insert(name);
  if (op != nullptr) present.insert(name);
}

void driver_ops(const vbd_driver_ops &ops, Ops &known, Ops &present) {
  note_op(known, present, "attach", ops.attach);
  note_op(known, present, "detach", ops.detach);
  note_op(known, present, "query", ops.query);
  note_op(known, present, "refresh", ops.refresh);
  note_op(known, present, "render", ops.render);
  note_op(known, present, "activate", ops.activate);
  note_op(known, present, "deactivate", ops.deactivate);
}

void filetype_ops(const vbd_filetype_ops &ops, const vbd_image_ops &image, Ops &known, Ops &present) {
  note_op(known, present, "probe", ops.probe);
  note_op(known, present, "info", ops.info);
  note_op(known, present, "create", ops.create);
  note_op(known, present, "resize", ops.resize);
  note_op(known, present, "check", ops.check);
  note_op(known, present, "snapshot", ops.snapshot);
  note_op(known, present, "remove", ops.remove);
  note_op(known, present, "image.open", image.open);
  note_op(known, present, "image.close", image.close);
  note_op(known, present, "image.geometry", image.geometry);
  note_op(known, present, "image.map", image.map);
  note_op(known, present, "image.read", image.read);
  note_op(known, present, "image.write", image.write);
  note_op(known, present, "image.zero", image.zero);
  note_op(known, present, "image.flush", image.flush);
  note_op(known, present, "image.reserve", image.reserve);
  note_op(known, present, "image.commit", image.commit);
}

/// Operations that only the note knows are a later minor's: this host will not call them.
Result<void> Describer::check_ops() const {
  Ops known, present;
  if (out_.plugin.kind == VBD_KIND_DRIVER) {
    driver_ops(out_.driver, known, present);
  } else {
    filetype_ops(out_.filetype, out_.image, known, present);
  }
  for (const std::string &op : known) {
    const bool noted = note_.ops.contains(op);
    if (noted == present.contains(op)) continue;
    return error(kMismatch, text::cat("operation ", op,
                                      noted ? " is in its note, but NULL in its struct"
                                            : " is in its struct, but not in its note"));
  }
  return {};
}

Result<Description> Describer::run(const vbd_plugin *given) {
  VBD_TRY(copy(out_.plugin, given, kPluginSize, "vbd_plugin"));
  VBD_TRY(check_versions());
  VBD_TRY(check_strings());
  VBD_TRY(check_note());
  VBD_TRY(copy_ops());
  VBD_TRY(check_ops());
  VBD_TRY_ASSIGN(auto options, read_options(out_.plugin, path_));
  out_.options = std::move(options);
  return std::move(out_);
}

}  // namespace

Result<Description> describe(const vbd_plugin *given, const Note &note, const std::string &path) {
  return Describer(note, path).run(given);
}

}  // namespace vbd::plugin
