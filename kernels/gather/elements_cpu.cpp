// SPDX-License-Identifier: Apache-2.0
// own.gather_elements.walk, own.scatter_elements.walk: one index per element, walked along the innermost dim of memory.
#include "kernels/api/functions_ref.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/gather/indices.h"

namespace tuyere::cpu {
namespace {

// Sizes and strides along the axis that the index picks from.
struct Axis {
  int64_t size = 1, stride = 0;
};

Axis split_axis(View& v, int64_t raw) {
  if (v.rank == 0) return {};
  const int axis = normalize_axis(raw, v.rank);
  const Axis a{v.shape[axis], v.strides[axis]};
  v.strides[axis] = 0;
  return a;
}

// Operands of the nest: the tensor of values, the index, the tensor the index points into (stride 0 along the axis).
struct ElementWalk {
  LoopNest nest;
  Axis axis;
  int split = -1;  // the dim that threads share: not the axis, so that no two of them meet in one place
  int threads = 1;

  ElementWalk(const View& index, const View& values, const View& picked, Axis a)
      : nest(make_nest(index.rank, index.shape, {values.strides, index.strides, picked.strides})), axis(a) {
    for (int d = 0; d < nest.rank; ++d) {
      if (nest.strides[2][d] != 0 && (split < 0 || nest.shape[d] > nest.shape[split])) split = d;
    }
    const int64_t work = nest.numel();
    threads = split < 0 ? 1 : static_cast<int>(std::min<int64_t>(threads_for(work), std::max<int64_t>(1, nest.shape[split])));
  }

  /// Calls row(value offset, index offset, picked offset, n, strides...) for every run of the innermost dim.
  template <class F>
  void run(F row) const {
    if (nest.numel() == 0) return;
    parallel_ranges(threads, split < 0 ? 1 : nest.shape[split], [&](int, int64_t begin, int64_t end) {
      LoopNest mine = nest;
      std::array<int64_t, 3> base{};
      if (split >= 0) {
        mine.shape[split] = end - begin;
        for (size_t k = 0; k < 3; ++k) base[k] = begin * nest.strides[k][split];
      }
      const int inner = mine.rank - 1;
      NestWalk walk(mine, inner, 0);
      const int64_t rows = product(inner, mine.shape);
      for (int64_t r = 0; r < rows; ++r, walk.next()) {
        row(base[0] + walk.offset(0), base[1] + walk.offset(1), base[2] + walk.offset(2), mine.shape[inner]);
      }
    });
  }
  int64_t stride(int k) const { return nest.strides[static_cast<size_t>(k)][nest.rank - 1]; }
};

/// Calls f(value offset, picked offset) for every index along a row; false when one is out of range.
template <class I, class F>
void each_index(const I* index, int64_t n, int64_t index_stride, const Axis& axis, IndexFailure& failure, F f) {
  for (int64_t i = 0; i < n; ++i) {
    const int64_t raw = index[i * index_stride], at = raw < 0 ? raw + axis.size : raw;
    if (at < 0 || at >= axis.size) {
      failure.set(raw, axis.size);
      return;
    }
    f(i, at * axis.stride);
  }
}

std::unique_ptr<Executable> prepare_gather_elements(const CpuProblem& p) {
  View x(p.args.in[0]);
  const View index(p.args.in[1]), out(p.args.out[0]);
  const Axis axis = split_axis(x, attrs<GatherElements>(p).axis);
  const ElementWalk walk(index, out, x, axis);
  return executable([walk, axis, type = index.dtype, bytes = element_bytes(out.dtype)](void* const* ptr) {
    IndexFailure failure;
    with_index(type, [&]<class I>() {
      with_element(bytes, [&]<class T>() {
        walk.run([&](int64_t to, int64_t at, int64_t from, int64_t n) {
          T* o = static_cast<T*>(ptr[2]) + to;
          const T* x = static_cast<const T*>(ptr[0]) + from;
          const int64_t os = walk.stride(0), xs = walk.stride(2);
          each_index(static_cast<const I*>(ptr[1]) + at, n, walk.stride(1), axis, failure, [&](int64_t i, int64_t pick) { o[i * os] = x[i * xs + pick]; });
        });
      });
    });
    return failure.status();
  });
}

template <ScatterKind kind, class T>
T combined(T a, T b) {
  if constexpr (kind == ScatterKind::set) return b;
  if constexpr (kind == ScatterKind::add) return ref::add(a, b);
  if constexpr (kind == ScatterKind::mul) return ref::mul(a, b);
  if constexpr (kind == ScatterKind::max) return a != a || a > b ? a : b;
  if constexpr (kind == ScatterKind::min) return a != a || a < b ? a : b;
  return b;
}

template <class F>
auto with_kind(ScatterKind kind, F f) {
  switch (kind) {
    case ScatterKind::add:
      return f.template operator()<ScatterKind::add>();
    case ScatterKind::mul:
      return f.template operator()<ScatterKind::mul>();
    case ScatterKind::max:
      return f.template operator()<ScatterKind::max>();
    case ScatterKind::min:
      return f.template operator()<ScatterKind::min>();
    case ScatterKind::set:
      break;
  }
  return f.template operator()<ScatterKind::set>();
}

// The value types of sums and extremes; setting goes by size.
bool arithmetic(DType type) { return type == DType::F32 || type == DType::F64 || type == DType::I32 || type == DType::I64; }
template <class F>
auto with_arithmetic(DType type, F f) {
  switch (type) {
    case DType::F64:
      return f.template operator()<double>();
    case DType::I32:
      return f.template operator()<int32_t>();
    case DType::I64:
      return f.template operator()<int64_t>();
    default:
      return f.template operator()<float>();
  }
}

struct Scatter {
  ElementWalk walk;
  Axis axis;

  template <class I, class T, ScatterKind kind>
  void run(void* const* ptr, IndexFailure& failure) const {
    walk.run([&](int64_t from, int64_t at, int64_t to, int64_t n) {
      T* o = static_cast<T*>(ptr[3]) + to;
      const T* s = static_cast<const T*>(ptr[2]) + from;
      const int64_t ss = walk.stride(0), os = walk.stride(2);
      each_index(static_cast<const I*>(ptr[1]) + at, n, walk.stride(1), axis, failure, [&](int64_t i, int64_t pick) {
        T& place = o[i * os + pick];
        place = combined<kind>(place, s[i * ss]);
      });
    });
  }
};

std::unique_ptr<Executable> prepare_scatter_elements(const CpuProblem& p) {
  const auto& op = attrs<ScatterElements>(p);
  const View x(p.args.in[0]), index(p.args.in[1]), out(p.args.out[0]);
  View src(p.args.in[2]), picked = out;
  if (src.numel() == 1 && index.numel() != 1) src = View(TensorView{src.dtype, {}, {}}).broadcast_to(index);
  if (src.dtype != out.dtype || (op.kind != ScatterKind::set && !arithmetic(out.dtype))) return prepare_kernel("reference.scatter_elements", p);
  const Axis axis = split_axis(picked, op.axis);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([scatter = Scatter{ElementWalk(index, src, picked, axis), axis}, base = StridedCopy(out, x, bytes), kind = op.kind,
                     index_type = index.dtype, type = out.dtype, bytes](void* const* ptr) {
    if (ptr[0] != ptr[3]) base.run(ptr[3], ptr[0]);
    IndexFailure failure;
    with_index(index_type, [&]<class I>() {
      if (kind == ScatterKind::set) return with_element(bytes, [&]<class T>() { scatter.run<I, T, ScatterKind::set>(ptr, failure); });
      with_arithmetic(type, [&]<class T>() { with_kind(kind, [&]<ScatterKind k>() { scatter.run<I, T, k>(ptr, failure); }); });
    });
    return failure.status();
  });
}

}  // namespace

void add_element_kernels(CpuKernelTable& table) {
  table.push_back({"own.gather_elements.walk", prepare_gather_elements});
  table.push_back({"own.scatter_elements.walk", prepare_scatter_elements});
}

}  // namespace tuyere::cpu
