// SPDX-License-Identifier: Apache-2.0
// own.gather.rows, own.index.rows, own.index_put.rows: index tensors become offsets once per run; then every position copies the piece of memory
// behind the indexed axes.
#include <cstring>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/cpu/strided_copy.h"
#include "kernels/gather/indices.h"

namespace tuyere::cpu {
namespace {

/// x[lead..., idx..., trail...]: index tensors on consecutive axes of x.
struct IndexedTensor {
  View x;
  int first, count;
  View shape;               // of the indices, broadcast together
  std::vector<View> index;  // broadcast to shape
  std::vector<int> slots;

  IndexedTensor(const CpuProblem& p, const std::vector<int64_t>& axes, int index_slot)
      : x(p.args.in[0]), first(normalize_axis(axes.at(0), x.rank)), count(static_cast<int>(axes.size())), shape(broadcast_shape(p.args.in, index_slot, count)) {
    for (int k = 0; k < count; ++k) {
      INTERNAL_CHECK(normalize_axis(axes[static_cast<size_t>(k)], x.rank) == first + k, "index axes must be consecutive");
      index.push_back(View(p.args.in[index_slot + k]).broadcast_to(shape));
      slots.push_back(index_slot + k);
    }
  }

  /// The part of a tensor with the result's dims (lead, indices, trail), or of x itself without its indexed axes.
  View part(const View& v, int from, int to) const {
    View r;
    r.dtype = v.dtype;
    for (int d = from; d < to; ++d) {
      r.shape[r.rank] = v.shape[d];
      r.strides[r.rank++] = v.strides[d];
    }
    return r;
  }
  View lead_of_x() const { return part(x, 0, first); }
  View trail_of_x() const { return part(x, first + count, x.rank); }
  View lead_of(const View& v) const { return part(v, 0, first); }
  View positions_of(const View& v) const { return part(v, first, first + shape.rank); }
  View trail_of(const View& v) const { return part(v, first + shape.rank, v.rank); }

  /// Offsets in x of every position of the indices.
  void offsets(void* const* ptr, std::vector<int64_t>& out, IndexFailure& failure) const {
    std::fill(out.begin(), out.end(), 0);
    for (int k = 0; k < count; ++k) {
      const View& v = index[static_cast<size_t>(k)];
      const int64_t size = x.shape[first + k], stride = x.strides[first + k];
      const LoopNest nest = dims(v);
      with_index(v.dtype, [&]<class I>() {
        const auto* data = static_cast<const I*>(ptr[slots[static_cast<size_t>(k)]]);
        NestWalk walk(nest, nest.rank, 0);
        for (int64_t& o : out) {
          const int64_t raw = data[walk.offset(0)], i = raw < 0 ? raw + size : raw;
          walk.next();
          if (i < 0 || i >= size) {
            failure.set(raw, size);
          } else {
            o += i * stride;
          }
        }
      });
    }
  }
  /// The dims of a view in their logical order, dense ones merged.
  static LoopNest dims(const View& v) {
    LoopNest nest;
    nest.strides.resize(1);
    for (int d = 0; d < v.rank; ++d) {
      if (v.shape[d] == 1) continue;
      const int last = nest.rank - 1;
      if (last >= 0 && nest.strides[0][last] == v.strides[d] * v.shape[d]) {
        nest.shape[last] *= v.shape[d];
        nest.strides[0][last] = v.strides[d];
        continue;
      }
      nest.shape[nest.rank] = v.shape[d];
      nest.strides[0][nest.rank++] = v.strides[d];
    }
    return nest;
  }
};

std::vector<int64_t> position_offsets(const View& v) {
  std::vector<int64_t> list;
  for_each_index(v.rank, v.shape, [&](const Ix& i) { list.push_back(v.offset(i)); });
  return list;
}

/// Moves pieces between indexed places of one tensor and the positions of a dense result.
class IndexedCopy {
 public:
  /// to_indexed: from `other` (dims lead, indices, trail) to the indexed tensor whose lead and trail are given; otherwise the other way.
  IndexedCopy(IndexedTensor t, const View& indexed_lead, const View& indexed_trail, const View& other, bool to_indexed)
      : tensor_(std::move(t)),
        to_indexed_(to_indexed),
        bytes_(element_bytes(other.dtype)),
        lead_(make_nest(indexed_lead.rank, indexed_lead.shape, {tensor_.lead_of(other).strides, indexed_lead.strides})),
        positions_(position_offsets(tensor_.positions_of(other))),
        offsets_(positions_.size()) {
    const View trail = tensor_.trail_of(other);
    trail_count_ = trail.numel();
    dense_ = trail_count_ == 1 || (dense(indexed_trail) && dense(trail));
    trail_ = to_indexed ? StridedCopy(with_type(indexed_trail, other.dtype), trail, bytes_) : StridedCopy(trail, with_type(indexed_trail, other.dtype), bytes_);
    leads_ = lead_.numel();
    empty_ = leads_ == 0 || positions_.empty() || trail_count_ == 0;
    // Positions of a write may repeat: they stay in order, in one thread.
    const int64_t work = leads_ * static_cast<int64_t>(positions_.size()) * trail_count_;
    threads_ = dense_ ? threads_for(work) : 1;
    if (to_indexed) threads_ = static_cast<int>(std::min<int64_t>(threads_, std::max<int64_t>(1, leads_)));
  }

  /// Computes the offsets; false when an index is out of range.
  bool locate(void* const* ptr, IndexFailure& failure) {
    tensor_.offsets(ptr, offsets_, failure);
    return !failure.failed();
  }

  void run(char* indexed, char* other) const {
    if (empty_) return;
    const auto count = static_cast<int64_t>(positions_.size());
    const int64_t unit = to_indexed_ ? count : 1;
    parallel_ranges(threads_, leads_ * count / unit, [&](int, int64_t begin, int64_t end) {
      for (int64_t at = begin * unit; at < end * unit;) {
        const int64_t lead = at / count, first = at % count, last = std::min(count, first + end * unit - at);
        const NestWalk walk(lead_, lead_.rank, lead);
        copy_positions(indexed + walk.offset(1) * bytes_, other + walk.offset(0) * bytes_, first, last);
        at += last - first;
      }
    });
  }

  /// indexed += other; f32 and dense.
  template <class T>
  void add(char* indexed, const char* other) const {
    if (empty_) return;
    NestWalk walk(lead_, lead_.rank, 0);
    for (int64_t lead = 0; lead < leads_; ++lead, walk.next()) {
      for (size_t j = 0; j < positions_.size(); ++j) {
        T* to = reinterpret_cast<T*>(indexed) + walk.offset(1) + offsets_[j];
        const T* from = reinterpret_cast<const T*>(other) + walk.offset(0) + positions_[j];
        for (int64_t i = 0; i < trail_count_; ++i) to[i] += from[i];
      }
    }
  }
  bool dense() const { return dense_; }

 private:
  static View with_type(View v, DType type) {
    v.dtype = type;
    return v;
  }
  static bool dense(const View& v) { return v.contiguous(); }

  void copy_positions(char* indexed, char* other, int64_t first, int64_t last) const {
    if (!dense_) {
      for (int64_t j = first; j < last; ++j) {
        char *a = indexed + offsets_[static_cast<size_t>(j)] * bytes_, *b = other + positions_[static_cast<size_t>(j)] * bytes_;
        to_indexed_ ? trail_.run(a, b) : trail_.run(b, a);
      }
    } else if (trail_count_ > 1) {
      const auto size = static_cast<size_t>(trail_count_ * bytes_);
      for (int64_t j = first; j < last; ++j) {
        char *a = indexed + offsets_[static_cast<size_t>(j)] * bytes_, *b = other + positions_[static_cast<size_t>(j)] * bytes_;
        to_indexed_ ? std::memcpy(a, b, size) : std::memcpy(b, a, size);
      }
    } else {
      with_element(bytes_, [&]<class T>() {
        T *a = reinterpret_cast<T*>(indexed), *b = reinterpret_cast<T*>(other);
        const int64_t *o = offsets_.data(), *q = positions_.data();
        if (to_indexed_) {
          for (int64_t j = first; j < last; ++j) a[o[j]] = b[q[j]];
        } else {
          for (int64_t j = first; j < last; ++j) b[q[j]] = a[o[j]];
        }
      });
    }
  }

  IndexedTensor tensor_;
  bool to_indexed_, dense_ = false, empty_ = false;
  int64_t bytes_;
  LoopNest lead_;                   // operands: other, indexed
  std::vector<int64_t> positions_;  // offsets in other
  std::vector<int64_t> offsets_;    // offsets in the indexed tensor
  int64_t trail_count_ = 0, leads_ = 0;
  StridedCopy trail_;
  int threads_ = 1;
};

std::unique_ptr<Executable> prepare_take(const CpuProblem& p, const std::vector<int64_t>& axes) {
  IndexedTensor tensor(p, axes, 1);
  const View out(p.args.out[0]), lead = tensor.lead_of_x(), trail = tensor.trail_of_x();
  IndexedCopy copy(std::move(tensor), lead, trail, out, false);
  return executable([copy = std::move(copy), slot = p.inputs()](void* const* ptr) mutable {
    IndexFailure failure;
    if (copy.locate(ptr, failure)) copy.run(static_cast<char*>(ptr[0]), static_cast<char*>(ptr[slot]));
    return failure.status();
  });
}

std::unique_ptr<Executable> prepare_gather(const CpuProblem& p) { return prepare_take(p, {attrs<Gather>(p).axis}); }
std::unique_ptr<Executable> prepare_index(const CpuProblem& p) { return prepare_take(p, attrs<Index>(p).axes); }

std::unique_ptr<Executable> prepare_index_put(const CpuProblem& p) {
  const auto& op = attrs<IndexPut>(p);
  IndexedTensor tensor(p, op.axes, 2);
  const View x(p.args.in[0]), out(p.args.out[0]);
  View result;
  for (int d = 0; d < tensor.first; ++d) result.shape[result.rank++] = x.shape[d];
  for (int d = 0; d < tensor.shape.rank; ++d) result.shape[result.rank++] = tensor.shape.shape[d];
  for (int d = tensor.first + tensor.count; d < x.rank; ++d) result.shape[result.rank++] = x.shape[d];
  const View values = View(p.args.in[1]).broadcast_to(result);
  if (values.dtype != out.dtype) return prepare_kernel("reference.index_put", p);
  const bool accumulate = op.accumulate;
  tensor.x.strides = out.strides;  // places are those of the output
  const View lead = tensor.lead_of_x(), trail = tensor.trail_of_x();
  IndexedCopy copy(std::move(tensor), lead, trail, values, true);
  const bool real = out.dtype == DType::F32 || out.dtype == DType::F64;
  if (accumulate && (!copy.dense() || !real)) return prepare_kernel("reference.index_put", p);
  const int64_t bytes = element_bytes(out.dtype);
  return executable([copy = std::move(copy), base = StridedCopy(out, x, bytes), accumulate, type = out.dtype, slot = p.inputs()](void* const* ptr) mutable {
    if (ptr[0] != ptr[slot]) base.run(ptr[slot], ptr[0]);
    IndexFailure failure;
    if (!copy.locate(ptr, failure)) return failure.status();
    auto *to = static_cast<char*>(ptr[slot]), *from = static_cast<char*>(ptr[1]);
    if (!accumulate) {
      copy.run(to, from);
    } else if (type == DType::F32) {
      copy.add<float>(to, from);
    } else {
      copy.add<double>(to, from);
    }
    return Status::ok();
  });
}

}  // namespace

void add_gather_kernels(CpuKernelTable& table) {
  table.push_back({"own.gather.rows", prepare_gather});
  table.push_back({"own.index.rows", prepare_index});
  table.push_back({"own.index_put.rows", prepare_index_put});
  add_element_kernels(table);
}

}  // namespace tuyere::cpu
