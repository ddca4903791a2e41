// SPDX-License-Identifier: MIT
#include "pairs.hpp"

#include <set>
#include <tuple>

#include "sdk/testkit/random.hpp"

namespace qcow_test {

namespace {

using Pair = std::tuple<std::size_t, std::size_t, std::size_t, std::size_t>;

std::vector<Pair> pairs_of(const Combination &c) {
  std::vector<Pair> list;
  for (std::size_t i = 0; i < c.size(); ++i) {
    for (std::size_t k = i + 1; k < c.size(); ++k) list.emplace_back(i, c[i], k, c[k]);
  }
  return list;
}

}  // namespace

std::vector<Combination> pairwise(const std::vector<Factor> &factors, std::size_t least,
                                  const std::function<bool(const Combination &)> &valid) {
  vbdkit::testkit::Random random(7);
  const auto candidate = [&] {
    Combination c(factors.size());
    do {
      for (std::size_t i = 0; i < c.size(); ++i) c[i] = random.below(factors[i].values.size());
    } while (!valid(c));
    return c;
  };
  std::set<Pair> covered;
  std::vector<Combination> list;
  // A value pair that 3000 random valid candidates don't have can't be had.
  for (int without_progress = 0; without_progress < 30 || list.size() < least;) {
    Combination best;
    std::size_t most = 0;
    for (int i = 0; i < 100; ++i) {
      const Combination c = candidate();
      std::size_t fresh = 0;
      for (const Pair &pair : pairs_of(c)) fresh += covered.contains(pair) ? 0 : 1;
      if (best.empty() || fresh > most) {
        best = c;
        most = fresh;
      }
    }
    without_progress = most == 0 ? without_progress + 1 : 0;
    if (most == 0 && list.size() >= least) continue;
    for (const Pair &pair : pairs_of(best)) covered.insert(pair);
    list.push_back(best);
  }
  return list;
}

}  // namespace qcow_test
