// SPDX-License-Identifier: Apache-2.0
#include "core/builder/alike.h"

#include <algorithm>
#include <numeric>

namespace tuyere {
namespace {

constexpr int64_t kVector = 8;    // elements: sizes that are no multiple of a vector's take other kernels
constexpr int kVectorBytes = 16;  // so do addresses
constexpr int kMany = 4;          // problems that one leader spares questions: fewer are asked themselves

/// What of a problem is compared: numbers are read once, not for every pair.
struct Facts {
  const Problem* problem = nullptr;
  std::vector<std::vector<int64_t>> dims, strides;
  int64_t bytes = 0;
  int leader = -1;
};

Facts facts_of(const Problem& problem) {
  Facts facts{&problem};
  for (const auto* side : {&problem.in, &problem.out}) {
    for (const TensorDesc& t : *side) {
      facts.dims.push_back(problem.dims(t));
      facts.strides.push_back(problem.strides(t));
    }
  }
  facts.bytes = traffic_bytes(problem);
  return facts;
}

bool near_sizes(int64_t a, int64_t b) { return a == b || (a > 1 && b > 1 && 2 * a <= 3 * b && 2 * b <= 3 * a && (a % kVector == 0) == (b % kVector == 0)); }

bool same_kind_of_stride(int64_t a, int64_t b) { return a == b || (a > 1 && b > 1); }

bool alike(const std::vector<TensorDesc>& a, const std::vector<TensorDesc>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const TensorDesc& x, const TensorDesc& y) {
    const auto constant = [](const Dim& d) { return d.is_const(); };
    return x.dtype == y.dtype && x.constant == y.constant && x.rank() == y.rank() &&
           std::min(x.alignment, kVectorBytes) == std::min(y.alignment, kVectorBytes) &&
           std::equal(x.shape.begin(), x.shape.end(), y.shape.begin(), [&](const Dim& p, const Dim& q) { return constant(p) == constant(q); });
  });
}

bool alike(const Facts& a, const Facts& b) {
  if (&a == &b) return true;  // its operator may not equal itself: numbers that are none
  const auto all = [](const auto& x, const auto& y, auto same) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [&](const auto& p, const auto& q) { return std::equal(p.begin(), p.end(), q.begin(), q.end(), same); });
  };
  return all(a.dims, b.dims, near_sizes) && all(a.strides, b.strides, same_kind_of_stride) && alike(a.problem->in, b.problem->in) &&
         alike(a.problem->out, b.problem->out) && a.problem->deterministic == b.problem->deterministic && a.problem->op == b.problem->op;
}

}  // namespace

std::vector<int> find_leaders(const std::vector<const Problem*>& problems) {
  std::vector<Facts> facts;
  for (const Problem* problem : problems) facts.push_back(facts_of(*problem));
  std::vector<int> by_size(facts.size());
  std::iota(by_size.begin(), by_size.end(), 0);
  std::stable_sort(by_size.begin(), by_size.end(), [&](int a, int b) { return facts[a].bytes < facts[b].bytes; });
  for (int smallest : by_size) {
    if (facts[smallest].leader >= 0) continue;
    // The largest that stands for the smallest reaches furthest.
    const auto open_and_alike = [&](int other) { return facts[other].leader < 0 && alike(facts[smallest], facts[other]); };
    const int leader = *std::find_if(by_size.rbegin(), by_size.rend(), open_and_alike);
    for (Facts& other : facts) {
      if (other.leader < 0 && alike(facts[leader], other)) other.leader = leader;
    }
  }
  std::vector<int> followers(facts.size()), leaders;
  for (const Facts& f : facts) followers[f.leader]++;
  for (size_t i = 0; i < facts.size(); ++i) leaders.push_back(followers[facts[i].leader] < kMany ? static_cast<int>(i) : facts[i].leader);
  return leaders;
}

}  // namespace tuyere
