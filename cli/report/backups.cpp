// SPDX-License-Identifier: MIT
#include "cli/report/backups.hpp"

#include <ctime>

#include "cli/report/report.hpp"
#include "core/base/size.hpp"
#include "core/base/text.hpp"

namespace vbd::cli::report {
namespace {

std::string time_text(std::uint64_t seconds) {
  const auto when = static_cast<std::time_t>(seconds);
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&when, &parts) != nullptr) std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::uint64_t size_of(const backup::ExportedDisk &disk) {
  return disk.own ? disk.own->size : disk.mib << 20;
}

std::uint64_t size_of(const backup::Description &description) {
  std::uint64_t sum = 0;
  for (const auto &disk : description.disks) sum += size_of(disk);
  return sum;
}

const char *compression_text(const backup::Description &description) {
  return description.compression == backup::Compression::zstd ? "zstd" : "none";
}

json::Value disks_json(const backup::Description &description) {
  json::Array list;
  for (std::size_t i = 0; i < description.disks.size(); ++i) {
    const auto &disk = description.disks[i];
    json::Value value;
    value.set("index", std::uint64_t{i})
        .set("dump", disk.dump.empty() ? json::Value{} : json::Value{disk.dump});
    value.set("size", size_of(disk));
    value.set("content", disk.own ? json::Value{backup::content_text(disk.own->content)} : json::Value{});
    value.set("length", disk.own ? json::Value{disk.own->length} : json::Value{});
    value.set("digest", disk.own ? json::Value{disk.own->digest} : json::Value{});
    list.push_back(std::move(value));
  }
  return list;
}

json::Value nothing_or(const std::string &text) {
  return text.empty() ? json::Value{} : json::Value{text};
}

json::Value listed_json(const backup::Listed &one) {
  json::Value value;
  value.set("name", one.name).set("path", one.path).set("allocated", one.allocated);
  const bool known = one.description.has_value();
  const backup::Description none, &of = known ? *one.description : none;
  value.set("instance", nothing_or(of.name)).set("os", nothing_or(of.os));
  value.set("time", known ? json::Value{time_text(of.timestamp)} : json::Value{});
  value.set("by_vbd", of.ours).set("compression", compression_text(of));
  value.set("size", size_of(of)).set("disks", disks_json(of));
  return value.set("problem", nothing_or(one.problem));
}

}  // namespace

Outcome exported(bool json, const backup::Exported &done) {
  if (json) {
    json::Value value;
    value.set("schema", "vbdkit.backup/1").set("name", done.description.name).set("path", done.path);
    value.set("compression", compression_text(done.description)).set("disks", disks_json(done.description));
    return {{}, std::move(value)};
  }
  return {text::cat("instance ", done.description.name, ": exported to ", text::printable(done.path), "\n"),
          {}};
}

Outcome exports(bool json, const std::vector<backup::Listed> &list, const ExportsLook &look) {
  if (json) {
    json::Array array;
    for (const auto &one : list) array.push_back(listed_json(one));
    return {{}, json::Object{{"schema", "vbdkit.backups/1"}, {"backups", std::move(array)}}};
  }
  Table table;
  table.separator = look.separator;
  table.bold = look.color;
  if (!look.no_headers) table.headers = {"NAME", "TIME", "OS", "DISKS", "SIZE", "ON DISK", "PROBLEM"};
  for (const auto &one : list) {
    const bool known = one.description.has_value();
    const backup::Description none, &of = known ? *one.description : none;
    table.rows.push_back({one.name, known ? time_text(of.timestamp) : "", of.os,
                          std::to_string(of.disks.size()), format_size(size_of(of)),
                          format_size(one.allocated), one.problem});
  }
  return {table_text(table), {}};
}

}  // namespace vbd::cli::report
