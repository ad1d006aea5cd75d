// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/kernels_cpu/harness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <string_view>
#include <utility>

#include "common/error.h"
#include "kernels/api/tactics.h"
#include "kernels/run/executors.h"

namespace tuyere::testing_cpu {
namespace {

class MapStore final : public ConstantStore {
 public:
  std::shared_ptr<void> packed(const std::string& key, const std::function<std::shared_ptr<void>()>& make) override {
    auto& entry = packs_[key];
    if (!entry) entry = make();
    return entry;
  }

 private:
  std::map<std::string, std::shared_ptr<void>> packs_;
};

template <class F>
void each_offset(const TensorView& t, F f) {
  if (t.numel() == 0) return;
  std::vector<int64_t> index(t.shape.size(), 0);
  for (;;) {
    int64_t offset = 0;
    for (size_t d = 0; d < index.size(); ++d) offset += index[d] * t.strides[d];
    f(offset);
    int d = static_cast<int>(index.size()) - 1;
    while (d >= 0 && ++index[d] == t.shape[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

double tolerance_of(DType type) {
  switch (type) {
    case DType::F32:
      return 2e-5;
    case DType::F16:
      return 4e-3;
    case DType::BF16:
      return 2e-2;
    case DType::F64:
      return 1e-10;
    default:
      return 0;
  }
}

/// The candidates of all operators, by name.
std::map<std::string_view, const Tactic*> all_cpu_tactics() {
  std::map<std::string_view, const Tactic*> all;
  const auto add = [&](const Op& op) {
    for (const auto& tactic : cpu_tactics(op)) all.emplace(tactic->name(), tactic.get());
  };
  [&]<size_t... I>(std::index_sequence<I...>) { (add(std::variant_alternative_t<I, Op>{}), ...); }
  (std::make_index_sequence<std::variant_size_v<Op>>());
  return all;
}

/// After all tests (of a run without a filter): kernels of ours that no problem reached.
class EveryKernelRan final : public ::testing::Environment {
 public:
  static std::set<std::string_view>& names() {
    static std::set<std::string_view> ran;
    return ran;
  }
  void TearDown() override {
    if (::testing::GTEST_FLAG(filter) != "*") return;
    for (const auto& [name, tactic] : all_cpu_tactics()) {
      if (tactic->source() == "own" && !names().contains(name)) ADD_FAILURE() << name << " was not tested: add a problem that it takes to candidates_test.cpp";
    }
  }
};
[[maybe_unused]] const auto* const kEveryKernelRan = ::testing::AddGlobalTestEnvironment(new EveryKernelRan);

}  // namespace

GuardedTensor::GuardedTensor(const TensorDesc& desc, const Symbols& symbols) {
  view_ = {desc.dtype, eval(desc.shape, symbols), eval(desc.strides, symbols)};
  int64_t last = 0;
  for (size_t d = 0; d < view_.shape.size(); ++d) last += std::max<int64_t>(0, view_.shape[d] - 1) * view_.strides[d];
  memory_.assign(static_cast<size_t>(bytes_of(desc.dtype, last + 1)) + 2 * kGuard, 0xA5);
}

void GuardedTensor::fill_random(unsigned seed, int low, int high) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> real(0, 1);
  std::uniform_int_distribution<int> integer(low, high);
  each_offset(view_, [&](int64_t o) {
    const double v = is_float(view_.dtype) ? real(generator) : view_.dtype == DType::Bool ? double(integer(generator) > 0) : double(integer(generator));
    store_from_double(view_.dtype, data(), o, v);
  });
}

std::vector<double> GuardedTensor::values() const {
  std::vector<double> list;
  each_offset(view_, [&](int64_t o) { list.push_back(load_as_double(view_.dtype, memory_.data() + kGuard, o)); });
  return list;
}

bool GuardedTensor::guards_intact() const {
  for (size_t i = 0; i < kGuard; ++i) {
    if (memory_[i] != 0xA5 || memory_[memory_.size() - 1 - i] != 0xA5) return false;
  }
  return true;
}

const Tactic& find_tactic(const std::string& name) {
  const auto all = all_cpu_tactics();
  const auto found = all.find(name);
  INTERNAL_CHECK(found != all.end(), "no tactic " << name);
  return *found->second;
}

std::vector<std::vector<double>> run_tactic(const Tactic& tactic, const Problem& problem, const RunOptions& options,
                                            const std::vector<std::vector<double>>* inputs) {
  EveryKernelRan::names().insert(tactic.name());
  std::vector<GuardedTensor> in, out;
  PrepareArgs args;
  MapStore store;
  args.store = &store;
  args.symbols = &problem.hints;
  unsigned seed = 1;
  for (const TensorDesc& d : problem.in) {
    GuardedTensor& t = in.emplace_back(d, problem.hints);
    if (inputs) {
      size_t i = 0;
      each_offset(t.view(), [&](int64_t o) { store_from_double(d.dtype, t.data(), o, (*inputs)[in.size() - 1][i++]); });
    } else {
      t.fill_random(seed++, options.int_low, options.int_high);
    }
  }
  std::vector<void*> pointers;
  for (size_t k = 0; k < in.size(); ++k) {
    args.in.push_back(in[k].view());
    args.constants.push_back(problem.in[k].constant ? in[k].data() : nullptr);
    args.constant_keys.push_back(problem.in[k].constant ? "w" + std::to_string(k) : "");
    pointers.push_back(in[k].data());
  }
  for (const TensorDesc& d : problem.out) {
    out.emplace_back(d, problem.hints);
    args.out.push_back(out.back().view());
  }
  for (GuardedTensor& t : out) pointers.push_back(t.data());
  const StepSpec spec = tactic.make(problem, Target(), tactic.configs(problem, Target(), 3)[0]);
  auto executor = find_executor(spec.executor);
  EXPECT_TRUE(executor.is_ok()) << executor.status().message();
  if (!executor.is_ok()) return {};
  const auto bytes = (*executor)->workspace(spec, args);
  EXPECT_TRUE(bytes.is_ok()) << bytes.status().message();
  if (!bytes.is_ok()) return {};
  const std::unique_ptr<void, void (*)(void*)> workspace(std::aligned_alloc(256, (static_cast<size_t>(bytes.value()) + 511) / 256 * 256), std::free);
  pointers.push_back(workspace.get());
  auto prepared = (*executor)->prepare(spec, args);
  EXPECT_TRUE(prepared.is_ok()) << prepared.status().message();
  if (!prepared.is_ok()) return {};
  const auto again = (*executor)->workspace(spec, args);
  EXPECT_TRUE(again.is_ok() && again.value() == bytes.value()) << "the workspace is another one after prepare";
  for (int times = 0; times < 2; ++times) {  // a second run must not depend on the first
    const Status status = (*prepared)->run(pointers.data(), nullptr);
    EXPECT_TRUE(status.is_ok()) << status.message();
  }
  std::vector<std::vector<double>> results;
  for (const GuardedTensor& t : out) {
    EXPECT_TRUE(t.guards_intact()) << tactic.name() << " wrote outside of its output";
    results.push_back(t.values());
  }
  return results;
}

std::vector<std::string> check_against_reference(const std::string& text, const RunOptions& options) {
  SCOPED_TRACE(text);
  const Problem problem = parse_problem(text);
  const auto expected = run_tactic(find_tactic("reference." + std::string(name(problem.op))), problem, options);
  std::vector<std::string> ran;
  for (const auto& tactic : cpu_tactics(problem.op)) {
    if (tactic->source() == "reference" || !tactic->supports(problem, Target())) continue;
    SCOPED_TRACE(std::string(tactic->name()));
    const auto actual = run_tactic(*tactic, problem, options);
    ran.emplace_back(tactic->name());
    if (actual.size() != expected.size()) {
      ADD_FAILURE() << "no result";
      continue;
    }
    for (size_t k = 0; k < actual.size(); ++k) {
      const double tolerance = tolerance_of(problem.out[k].dtype) + options.tolerance + (tactic->name().ends_with(".apart") ? options.apart : 0);
      int failures = 0;
      for (size_t i = 0; i < actual[k].size() && failures < 3; ++i) {
        const double a = actual[k][i], e = expected[k][i];
        const bool same = (std::isnan(a) && std::isnan(e)) || a == e || std::fabs(a - e) <= tolerance * (1 + std::fabs(e));
        if (!same) ++failures, ADD_FAILURE() << "output " << k << " element " << i << ": " << a << ", expected " << e;
      }
    }
  }
  return ran;
}

}  // namespace tuyere::testing_cpu
