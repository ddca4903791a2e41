// SPDX-License-Identifier: MIT
// A pairwise cover: every two values of two factors that can go together do so in at least one combination.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace qcow_test {

struct Factor {
  std::string name;
  std::vector<std::string> values;
};
/// Index of a value for each factor.
using Combination = std::vector<std::size_t>;

/// At least `least` combinations that `valid` accepts. The same every time.
std::vector<Combination> pairwise(const std::vector<Factor> &factors, std::size_t least,
                                  const std::function<bool(const Combination &)> &valid);

}  // namespace qcow_test
