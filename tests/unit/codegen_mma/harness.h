// SPDX-License-Identifier: Apache-2.0
// Random tensors with guard zones, float64 references, and the run of a kernel tactic on the emulator.
#pragma once
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/api/program.h"
#include "kernels/mma/gemm.h"
#include "tests/emulator/emulator.h"

namespace tuyere {

inline const Target kHopper{Target::Kind::Cuda, 90, 132, "", 50 << 20, 3000, 989, 0, false};
inline constexpr DType H = DType::F16, B = DType::BF16, F = DType::F32;
inline TensorDesc dense(DType type, const char* shape) { return desc(type, parse_shape(shape)); }

}  // namespace tuyere

namespace tuyere::testing {

/// Storage of one strided tensor between guard zones of NaN bytes.
struct Tensor {
  DType dtype = DType::F32;
  std::vector<int64_t> shape, strides;
  std::vector<unsigned char> storage;
  static constexpr int64_t kGuard = 1024;
  int64_t span = 0;  // bytes

  Tensor(Tensor&&) = default;
  Tensor(const Tensor&) = delete;  // a copy's storage would be aligned differently
  Tensor(const TensorDesc& desc, const Symbols& symbols) : dtype(desc.dtype), shape(eval(desc.shape, symbols)), strides(eval(desc.strides, symbols)) {
    int64_t extent = 1;
    for (size_t d = 0; d < shape.size(); ++d) extent += (shape[d] - 1) * strides[d];
    span = extent * bits(dtype) / 8;
    storage.assign(static_cast<size_t>(span + 2 * kGuard + 256), 0xff);
  }
  unsigned char* data() {
    auto at = reinterpret_cast<uintptr_t>(storage.data());
    return storage.data() + ((256 - at % 256) % 256) + kGuard;
  }
  int64_t count() const {
    int64_t n = 1;
    for (int64_t s : shape) n *= s;
    return n;
  }
  std::vector<int64_t> index(int64_t linear) const {
    std::vector<int64_t> i(shape.size());
    for (size_t d = shape.size(); d-- > 0;) i[d] = linear % shape[d], linear /= shape[d];
    return i;
  }
  int64_t offset(const std::vector<int64_t>& i) const {
    int64_t o = 0;
    for (size_t d = 0; d < i.size(); ++d) o += i[d] * strides[d];
    return o;
  }
  double get(const std::vector<int64_t>& i) { return load_as_double(dtype, data(), offset(i)); }
  /// The element that NumPy broadcasting puts at index `i` of a larger shape.
  double broadcast(const std::vector<int64_t>& i) {
    std::vector<int64_t> own(shape.size());
    for (size_t d = 0; d < shape.size(); ++d) own[d] = shape[d] == 1 ? 0 : i[i.size() - shape.size() + d];
    return get(own);
  }
  void randomize(std::mt19937& rng) {
    std::uniform_real_distribution<double> real(-1, 1);
    for (int64_t l = 0; l < count(); ++l) {
      double v = dtype == DType::Bool ? double(rng() % 4 != 0) : is_float(dtype) ? real(rng) : double(int(rng() % 9) - 4);
      if (dtype == DType::U8) v = double(rng() % 9);
      store_from_double(dtype, data(), offset(index(l)), v);
    }
  }
  bool guards_intact() {
    for (int64_t i = 1; i <= kGuard; ++i)
      if (data()[-i] != 0xff || data()[span + i - 1] != 0xff) return false;
    return true;
  }
};

struct Tensors {
  std::vector<Tensor> in, out;
  Tensors(const Problem& p, const Symbols& symbols, unsigned seed) {
    std::mt19937 rng(seed);
    for (const TensorDesc& t : p.in) in.emplace_back(t, symbols), in.back().randomize(rng);
    for (const TensorDesc& t : p.out) out.emplace_back(t, symbols);
  }
};

inline std::vector<double> as_list(double main) { return {main}; }
inline std::vector<double> as_list(std::vector<double> mains) { return mains; }

/// Compares every output element with epilogue(main(index), extras from input `first_extra`), main one value or several; returns the first difference, or "".
template <class MAIN>
std::string compare(Tensors& t, const Program& epilogue, size_t first_extra, double tolerance, MAIN main) {
  for (int64_t l = 0; l < t.out[0].count(); ++l) {
    const std::vector<int64_t> i = t.out[0].index(l);
    std::vector<double> in = as_list(main(i)), out(std::max<size_t>(1, t.out.size()));
    for (size_t k = first_extra; k < t.in.size(); ++k) in.push_back(t.in[k].broadcast(i));
    if (epilogue.empty())
      out[0] = in[0];
    else
      evaluate(epilogue, in.data(), out.data());
    for (size_t k = 0; k < t.out.size(); ++k) {
      const double got = t.out[k].get(i), want = out[k];
      const double eps = is_float(t.out[k].dtype) ? epsilon(t.out[k].dtype) : 0;
      if (std::isnan(got) && std::isnan(want)) continue;
      if (!(std::abs(got - want) <= tolerance + eps * std::abs(want))) {
        std::string at;
        for (int64_t x : i) at += std::to_string(x) + " ";
        return "output " + std::to_string(k) + " at " + at + ": " + std::to_string(got) + " instead of " + std::to_string(want);
      }
    }
  }
  for (Tensor& o : t.out)
    if (!o.guards_intact()) return "wrote outside of an output";
  return "";
}

/// Runs on the emulator; symbols get their hints.
inline void emulate(const mma::KernelSource& source, const Problem& p, Tensors& t) {
  emulator::Module module(source.text, source.step);
  std::vector<void*> pointers;
  for (Tensor& x : t.in) pointers.push_back(x.data());
  for (Tensor& x : t.out) pointers.push_back(x.data());
  std::vector<unsigned char> workspace(static_cast<size_t>(source.workspace.eval(p.hints)) + 256, 0xff);
  pointers.push_back(workspace.data() + (256 - reinterpret_cast<uintptr_t>(workspace.data()) % 256) % 256);
  module.run(source.step, pointers.data(), p.hints);
}

/// Every second case, all with TUYERE_TEST_ALL=1: emulation takes about a second each.
template <class T>
std::vector<T> sample(std::vector<T> cases) {
  if (std::getenv("TUYERE_TEST_ALL")) return cases;
  std::vector<T> some;
  for (size_t i = 0; i < cases.size(); i += 2) some.push_back(std::move(cases[i]));
  return some;
}

/// The sources of all emulated cases, for the compiler test.
struct NamedSource {
  std::string name;
  mma::KernelSource source;
};
std::vector<NamedSource> matmul_sources();
std::vector<NamedSource> gated_matmul_sources();
std::vector<NamedSource> conv_sources();
std::vector<NamedSource> attention_sources();
std::vector<NamedSource> attention_gradient_sources();

/// Empty, or the first difference from the float64 reference.
std::string check_matmul(const Problem& p, const mma::KernelSource& source);
std::string check_gated_matmul(const Problem& p, const mma::KernelSource& source);
std::string check_conv(const Problem& p, const mma::KernelSource& source);
std::string check_attention(const Problem& p, const mma::KernelSource& source);

}  // namespace tuyere::testing
