// SPDX-License-Identifier: Apache-2.0
// Indexing: gather (take), gather_elements, index, scatter_elements, index_put.
#include "kernels/cpu/reference.h"

namespace tuyere::cpu {
namespace {

// Writes the first failure of a run; later ones change nothing.
struct Failure {
  bool failed = false;
  int64_t index = 0, size = 0;
  bool check(int64_t* i, int64_t n) {
    const int64_t raw = *i;
    if (wrap_index(i, n)) return true;
    if (!failed) *this = {true, raw, n};
    return false;
  }
  Status status() const { return failed ? index_error(index, size) : Status::ok(); }
};

std::unique_ptr<Executable> prepare_gather(const CpuProblem& p) {
  const auto& op = attrs<Gather>(p);
  const View x(p.args.in[0]), index(p.args.in[1]), out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, x.rank);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([=](void* const* ptr) {
    Failure failure;
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix at{}, from{};
      for (int d = 0; d < index.rank; ++d) at[d] = o[axis + d];
      for (int d = 0; d < x.rank; ++d)
        if (d != axis) from[d] = d < axis ? o[d] : o[d + index.rank - 1];
      from[axis] = load_index(index.dtype, ptr[1], index.offset(at));
      if (failure.check(&from[axis], x.shape[axis])) copy_element(ptr[2], out.offset(o), ptr[0], x.offset(from), bytes);
    });
    return failure.status();
  });
}

std::unique_ptr<Executable> prepare_gather_elements(const CpuProblem& p) {
  const auto& op = attrs<GatherElements>(p);
  const View x(p.args.in[0]), index(p.args.in[1]), out(p.args.out[0]);
  const int axis = normalize_axis(op.axis, x.rank);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([=](void* const* ptr) {
    Failure failure;
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix from = o;
      from[axis] = load_index(index.dtype, ptr[1], index.offset(o));
      const int64_t size = x.rank ? x.shape[axis] : 1;
      if (failure.check(&from[axis], size)) copy_element(ptr[2], out.offset(o), ptr[0], x.offset(from), bytes);
    });
    return failure.status();
  });
}

// Index tensors on consecutive axes of x: maps an index of the indexed result to an index of x.
struct IndexedAxes {
  View x;
  int first, count, shape_rank;
  std::vector<View> index;
  std::vector<int> slots;
  View result;  // shape of x[..., idx...]

  IndexedAxes(const CpuProblem& p, const std::vector<int64_t>& axes, int index_slot)
      : x(p.args.in[0]), first(normalize_axis(axes.at(0), x.rank)), count(static_cast<int>(axes.size())) {
    const View shape = broadcast_shape(p.args.in, index_slot, count);
    shape_rank = shape.rank;
    for (int k = 0; k < count; ++k) {
      INTERNAL_CHECK(normalize_axis(axes[k], x.rank) == first + k, "index axes must be consecutive");
      index.push_back(View(p.args.in[index_slot + k]).broadcast_to(shape));
      slots.push_back(index_slot + k);
    }
    for (int d = 0; d < first; ++d) result.shape[result.rank++] = x.shape[d];
    for (int d = 0; d < shape.rank; ++d) result.shape[result.rank++] = shape.shape[d];
    for (int d = first + count; d < x.rank; ++d) result.shape[result.rank++] = x.shape[d];
  }
  bool map(void* const* ptr, const Ix& o, Ix* from, Failure* failure) const {
    Ix at{};
    for (int d = 0; d < shape_rank; ++d) at[d] = o[first + d];
    for (int d = 0; d < first; ++d) (*from)[d] = o[d];
    for (int d = first + count; d < x.rank; ++d) (*from)[d] = o[d - count + shape_rank];
    bool ok = true;
    for (int k = 0; k < count; ++k) {
      (*from)[first + k] = load_index(index[k].dtype, ptr[slots[k]], index[k].offset(at));
      ok &= failure->check(&(*from)[first + k], x.shape[first + k]);
    }
    return ok;
  }
};

std::unique_ptr<Executable> prepare_index(const CpuProblem& p) {
  const auto& op = attrs<Index>(p);
  const IndexedAxes axes(p, op.axes, 1);
  const View out(p.args.out[0]);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([axes, out, bytes, slot = p.inputs()](void* const* ptr) {
    Failure failure;
    for_each_index(out.rank, out.shape, [&](const Ix& o) {
      Ix from{};
      if (axes.map(ptr, o, &from, &failure)) copy_element(ptr[slot], out.offset(o), ptr[0], axes.x.offset(from), bytes);
    });
    return failure.status();
  });
}

// Copies input 0 to the output unless they share memory.
void copy_base(const View& x, const View& out, void* const* ptr, int slot, int64_t bytes) {
  if (ptr[0] == ptr[slot]) return;
  for_each_index(out.rank, out.shape, [&](const Ix& i) { copy_element(ptr[slot], out.offset(i), ptr[0], x.offset(i), bytes); });
}

double combine(ScatterKind kind, double a, double b) {
  switch (kind) {
    case ScatterKind::set:
      return b;
    case ScatterKind::add:
      return a + b;
    case ScatterKind::mul:
      return a * b;
    case ScatterKind::max:
      return a != a || a > b ? a : b;
    case ScatterKind::min:
      return a != a || a < b ? a : b;
  }
  return b;
}

std::unique_ptr<Executable> prepare_scatter_elements(const CpuProblem& p) {
  const auto& op = attrs<ScatterElements>(p);
  const View x(p.args.in[0]), index(p.args.in[1]), out(p.args.out[0]);
  View src(p.args.in[2]);
  if (src.numel() == 1 && index.numel() != 1) src = View(TensorView{src.dtype, {}, {}}).broadcast_to(index);
  const int axis = normalize_axis(op.axis, x.rank);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([=, kind = op.kind](void* const* ptr) {
    copy_base(x, out, ptr, 3, bytes);
    Failure failure;
    for_each_index(index.rank, index.shape, [&](const Ix& i) {
      Ix to = i;
      to[axis] = load_index(index.dtype, ptr[1], index.offset(i));
      if (!failure.check(&to[axis], x.rank ? x.shape[axis] : 1)) return;
      if (kind == ScatterKind::set && src.dtype == out.dtype) {
        copy_element(ptr[3], out.offset(to), ptr[2], src.offset(i), bytes);
      } else {
        out.store(ptr[3], to, combine(kind, out.load(ptr[3], to), src.load(ptr[2], i)));
      }
    });
    return failure.status();
  });
}

std::unique_ptr<Executable> prepare_index_put(const CpuProblem& p) {
  const auto& op = attrs<IndexPut>(p);
  const IndexedAxes axes(p, op.axes, 2);
  const View out(p.args.out[0]), values = View(p.args.in[1]).broadcast_to(axes.result);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([axes, out, values, bytes, accumulate = op.accumulate, slot = p.inputs()](void* const* ptr) {
    copy_base(axes.x, out, ptr, slot, bytes);
    Failure failure;
    for_each_index(axes.result.rank, axes.result.shape, [&](const Ix& o) {
      Ix to{};
      if (!axes.map(ptr, o, &to, &failure)) return;
      if (accumulate) {
        out.store(ptr[slot], to, out.load(ptr[slot], to) + values.load(ptr[1], o));
      } else if (values.dtype == out.dtype) {
        copy_element(ptr[slot], out.offset(to), ptr[1], values.offset(o), bytes);
      } else {
        out.store(ptr[slot], to, values.load(ptr[1], o));
      }
    });
    return failure.status();
  });
}

}  // namespace

void add_gather_references(CpuKernelTable& table) {
  table.push_back({"reference.gather", prepare_gather});
  table.push_back({"reference.gather_elements", prepare_gather_elements});
  table.push_back({"reference.index", prepare_index});
  table.push_back({"reference.scatter_elements", prepare_scatter_elements});
  table.push_back({"reference.index_put", prepare_index_put});
}

}  // namespace tuyere::cpu
