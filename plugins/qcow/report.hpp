// SPDX-License-Identifier: MIT
// What a check found. One thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "file.hpp"

namespace vbdkit::qcow {

class Report {
 public:
  /// Something that can't be right. `reason` has static storage. Harmless: no danger to who writes the image.
  __attribute__((format(printf, 4, 5))) void error(const char *reason, bool harmless, const char *format,
                                                   ...);
  void leak(uint64_t n) { leaks_ += n; }

  [[nodiscard]] bool has(const char *reason) const;

  [[nodiscard]] uint64_t errors() const { return errors_; }
  [[nodiscard]] uint64_t leaks() const { return leaks_; }
  [[nodiscard]] uint64_t dangerous() const { return dangerous_; }
  /// Of the first dangerous error, else of the first error.
  [[nodiscard]] const char *reason() const { return reason_; }
  [[nodiscard]] const std::string &first() const { return first_; }
  [[nodiscard]] const std::vector<std::string> &findings() const { return findings_; }  ///< at most 64

 private:
  uint64_t errors_ = 0, leaks_ = 0, dangerous_ = 0;
  const char *reason_ = nullptr;
  std::string first_;
  std::vector<std::string> findings_;
  std::set<std::string> reasons_;
};

}  // namespace vbdkit::qcow
