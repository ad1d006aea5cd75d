// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/codegen/harness.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <utility>

#include "kernels/api/tactics.h"
#include "kernels/codegen/types.h"
#include "kernels/run/executors.h"
#include "tests/emulator/emulator.h"

namespace tuyere::testing {
namespace {

constexpr int64_t kGuard = 512;  // bytes that must stay untouched on both sides

/// Storage of one strided tensor between guard zones.
struct Tensor {
  TensorView view;
  std::vector<unsigned char> storage;
  int64_t bytes = 0;

  Tensor(const TensorDesc& desc, const Symbols& symbols) {
    view = {desc.dtype, eval(desc.shape, symbols), eval(desc.strides, symbols)};
    int64_t extent = 1;
    for (size_t d = 0; d < view.shape.size(); ++d) extent = view.shape[d] == 0 ? 0 : extent + (view.shape[d] - 1) * view.strides[d];
    bytes = bytes_of(desc.dtype, std::max<int64_t>(extent, 0));
    storage.assign(static_cast<size_t>(bytes + 2 * kGuard + 256), 0xa5);
  }
  unsigned char* data() {
    const auto at = reinterpret_cast<uintptr_t>(storage.data());
    return storage.data() + (256 - at % 256) % 256 + kGuard;
  }
  int64_t offset(int64_t linear) const {
    int64_t o = 0;
    for (size_t d = view.shape.size(); d-- > 0; linear /= view.shape[d]) o += linear % view.shape[d] * view.strides[d];
    return o;
  }
  double get(int64_t linear) { return load_as_double(view.dtype, data(), offset(linear)); }
  void set(int64_t linear, double v) { store_from_double(view.dtype, data(), offset(linear), v); }
  bool guards_intact() {
    for (int64_t i = 1; i <= kGuard / 2; ++i)
      if (data()[-i] != 0xa5 || data()[bytes + i - 1] != 0xa5) return false;
    return true;
  }
};

/// For inputs that are indices: the size they index; 0 otherwise.
int64_t index_limit(const Problem& p, size_t input, const Symbols& symbols) {
  auto size = [&](const TensorDesc& t, int64_t axis) { return t.shape[static_cast<size_t>(axis < 0 ? axis + t.rank() : axis)].eval(symbols); };
  if (const auto* op = std::get_if<Gather>(&p.op)) return input == 1 ? size(p.in[0], op->axis) : 0;
  if (const auto* op = std::get_if<GatherElements>(&p.op)) return input == 1 ? size(p.in[0], op->axis) : 0;
  if (const auto* op = std::get_if<ScatterElements>(&p.op)) return input == 1 ? size(p.in[0], op->axis) : 0;
  if (const auto* op = std::get_if<Index>(&p.op)) return input >= 1 ? size(p.in[0], op->axes[input - 1]) : 0;
  if (const auto* op = std::get_if<IndexPut>(&p.op)) return input >= 2 ? size(p.in[0], op->axes[input - 2]) : 0;
  return 0;
}

void randomize(Tensor& t, int64_t limit, bool distinct, std::mt19937& rng) {
  std::uniform_real_distribution<double> real(-2, 2);
  for (int64_t i = 0; i < t.view.numel(); ++i) {
    double v = real(rng);
    if (limit > 0)
      v = static_cast<double>(distinct ? i % (t.view.shape.empty() ? 1 : t.view.shape.back())
                                       : static_cast<int64_t>(rng() % static_cast<uint64_t>(limit)) - (rng() % 2 ? limit : 0));
    else if (t.view.dtype == DType::Bool)
      v = rng() % 4 != 0;
    else if (t.view.dtype == DType::U8)
      v = static_cast<double>(rng() % 9);
    else if (!is_float(t.view.dtype))
      v = static_cast<double>(rng() % 9) - 4;
    t.set(i, v);
  }
}

/// Whether equal values, infinities and NaNs have a meaning that kernels must keep: which of them wins, what they make of the others.
bool minds_special_values(const Op& op) {
  const auto* reduce = std::get_if<Reduce>(&op);
  const auto* pool = std::get_if<Pool>(&op);
  return std::holds_alternative<ArgReduce>(op) || std::holds_alternative<Softmax>(op) || (pool && pool->kind == PoolKind::max) ||
         (reduce && (reduce->kind == ReduceKind::max || reduce->kind == ReduceKind::min));
}

/// Many equal values, some that are special, and from the middle on nothing but -inf in places.
void make_special(Tensor& t, std::mt19937& rng) {
  if (!is_float(t.view.dtype)) return;
  const int64_t count = t.view.numel();
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t kind = rng() % 300;
    const double plain = std::round(t.get(i) * 4) / 4;
    t.set(i, kind == 0 ? NAN : kind == 1 ? INFINITY : kind < 10 || (i > count / 2 && i % 5 != 0) ? -INFINITY : plain);
  }
}

/// Where the maxima of a pooling came from: some pixel of each window.
void randomize_places(Tensor& t, const PoolGradient& op, const Symbols& symbols, std::mt19937& rng) {
  const std::vector<int64_t> size = eval(op.size, symbols), &shape = t.view.shape;
  const size_t lead = shape.size() - size.size();
  for (int64_t i = 0; i < t.view.numel(); ++i) {
    int64_t flat = 0, stride = t.view.numel();
    for (size_t d = 0; d < shape.size(); ++d) {
      stride /= shape[d];
      if (d < lead) continue;
      const size_t k = d - lead;
      const int64_t o = i / stride % shape[d], begin = op.kernel.empty() ? o * size[k] / shape[d] : o * op.stride[k] - op.pad[k],
                    end = op.kernel.empty() ? ((o + 1) * size[k] + shape[d] - 1) / shape[d] : begin + op.kernel[k];
      const int64_t low = std::max<int64_t>(begin, 0), high = std::min(end, size[k]);
      flat = flat * size[k] + low + static_cast<int64_t>(rng() % static_cast<uint64_t>(high - low));
    }
    t.set(i, static_cast<double>(flat));
  }
}

double tolerance(DType type) {
  switch (type) {
    case DType::F64:
      return 1e-10;
    case DType::F32:
      return 3e-5;
    case DType::F16:
      return 3e-3;
    case DType::BF16:
      return 2e-2;
    case DType::F8E4M3:
      return 0.13;
    case DType::F8E5M2:
      return 0.26;
    default:
      return 0;
  }
}

std::string difference(Tensor& got, Tensor& want, size_t output) {
  const double tol = tolerance(got.view.dtype);
  double squares = 0;
  int64_t finite = 0;
  for (int64_t i = 0; i < want.view.numel(); ++i)
    if (const double v = want.get(i); std::isfinite(v)) squares += v * v, ++finite;
  const double scale = finite ? std::sqrt(squares / static_cast<double>(finite)) : 1;
  for (int64_t i = 0; i < got.view.numel(); ++i) {
    const double a = got.get(i), b = want.get(i);
    if (a == b || (a != a && b != b)) continue;
    if (std::abs(a - b) <= tol * (scale + std::abs(b))) continue;
    return "output " + std::to_string(output) + " element " + std::to_string(i) + ": " + std::to_string(a) + ", reference " + std::to_string(b);
  }
  return got.guards_intact() ? "" : "output " + std::to_string(output) + ": written outside";
}

void run_reference(const Problem& p, std::vector<Tensor>& in, std::vector<Tensor>& out, const Symbols& symbols) {
  StepSpec spec;
  spec.executor = "cpu";
  std::string op_text;
  for (char c : str(p.op)) op_text += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  spec.attrs = "{\"kernel\": \"reference." + std::string(name(p.op)) + "\", \"op\": \"" + op_text + "\", \"config\": \"\"}";
  PrepareArgs args;
  std::vector<void*> pointers;
  for (Tensor& t : in) args.in.push_back(t.view), pointers.push_back(t.data());
  for (Tensor& t : out) args.out.push_back(t.view), pointers.push_back(t.data());
  args.constants.resize(in.size());
  args.constant_keys.resize(in.size());
  args.symbols = &symbols;
  auto executor = find_executor("cpu");
  INTERNAL_CHECK(executor.is_ok(), executor.status().message());
  auto prepared = executor.value()->prepare(spec, args);
  INTERNAL_CHECK(prepared.is_ok(), prepared.status().message());
  const Status status = prepared.value()->run(pointers.data(), nullptr);
  INTERNAL_CHECK(status.is_ok(), status.message());
}

std::string run_once(const Problem& p, const emulator::Module& module, const codegen::Generated& generated, const Symbols& symbols, bool special) {
  std::mt19937 rng(7);
  std::vector<Tensor> in, out, want;
  for (size_t k = 0; k < p.in.size(); ++k) {
    in.emplace_back(p.in[k], symbols);
    const auto* pool = std::get_if<PoolGradient>(&p.op);
    if (pool && k == 1)
      randomize_places(in.back(), *pool, symbols, rng);
    else
      randomize(in.back(), index_limit(p, k, symbols), !p.deterministic, rng);
    if (special) make_special(in.back(), rng);
  }
  for (const TensorDesc& t : p.out) out.emplace_back(t, symbols), want.emplace_back(t, symbols);
  run_reference(p, in, want, symbols);
  const int64_t bytes = generated.workspace.eval(symbols);
  std::vector<unsigned char> workspace(static_cast<size_t>(bytes) + 2 * 256, 0xff);
  const auto at = reinterpret_cast<uintptr_t>(workspace.data());
  std::vector<void*> pointers;
  for (Tensor& t : in) pointers.push_back(t.data());
  for (Tensor& t : out) pointers.push_back(t.data());
  pointers.push_back(workspace.data() + (256 - at % 256) % 256);
  module.run(codegen::cuda_step(generated), pointers.data(), symbols);
  for (size_t k = 0; k < out.size(); ++k)
    if (std::string text = difference(out[k], want[k], k); !text.empty()) return text;
  return "";
}

}  // namespace

std::vector<ListedProblem> listed_problems() {
  std::vector<ListedProblem> all;
  for (const char* family : {"pointwise", "layout", "gather", "reduce", "softmax", "norm", "pool", "order", "gradient"}) {
    const std::string stem = std::string("problems_") + family;
    const std::filesystem::path path = std::filesystem::path(TUYERE_SOURCE_DIR) / "tests/kernels_gpu" / (stem + ".txt");
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || line[0] == '#') continue;
      const bool sample = line[0] == '*';
      all.push_back({sample ? line.substr(2) : line, stem, sample});
    }
  }
  return all;
}

std::vector<const codegen::CudaTactic*> own_tactics(const Problem& problem, const Target& target) {
  std::vector<const codegen::CudaTactic*> out;
  for (const auto& tactic : cuda_tactics(problem.op)) {
    const auto* own = dynamic_cast<const codegen::CudaTactic*>(tactic.get());
    if (own && own->supports(problem, target)) out.push_back(own);
  }
  return out;
}

std::set<std::string_view> own_names() {
  std::set<std::string_view> names;
  const auto add = [&](const Op& op) {
    for (const auto& tactic : cuda_tactics(op))
      if (dynamic_cast<const codegen::CudaTactic*>(tactic.get())) names.insert(tactic->name());
  };
  [&]<size_t... I>(std::index_sequence<I...>) { (add(std::variant_alternative_t<I, Op>{}), ...); }
  (std::make_index_sequence<std::variant_size_v<Op>>());
  return names;
}

std::string compare_with_reference(const Problem& problem, const codegen::CudaTactic& tactic, const Target& target, const Config& config) {
  if (codegen::is_empty(problem)) return "";
  const codegen::Generated generated = tactic.generate(problem, target, config);
  std::string source = codegen::rough_text(problem) + codegen::source(generated);
  for (const codegen::Kernel& kernel : generated.kernels) source += "using namespace " + kernel.name() + "_ns;\n";  // for the entry points that follow
  const emulator::Module module(source, codegen::cuda_step(generated));
  std::string text = run_once(problem, module, generated, problem.hints, false);
  if (text.empty() && minds_special_values(problem.op)) {
    text = run_once(problem, module, generated, problem.hints, true);
    if (!text.empty()) return "with special values: " + text;
  }
  if (!text.empty() || problem.hints.values.empty()) return text;
  Symbols larger = problem.hints;
  for (auto& [symbol, value] : larger.values) ++value;
  text = run_once(problem, module, generated, larger, false);
  return text.empty() ? "" : "at larger sizes: " + text;
}

}  // namespace tuyere::testing
