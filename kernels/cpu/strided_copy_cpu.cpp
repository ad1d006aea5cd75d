// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/strided_copy.h"

#include <cstdlib>
#include <cstring>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/transpose.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kChunkBytes = 1 << 15;
constexpr int64_t kTransposeColumns = 64;

// rows x n elements.
struct Piece {
  char* out;
  const char* in;
  int64_t rows, n, out_row, in_row, out_stride, in_stride;
};

// Elements may be runs of smaller ones, which are aligned as those are.
template <class T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void store(char* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

template <class T>
void copy_rows(const Piece& p) {
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  for (int64_t r = 0; r < p.rows; ++r) std::memcpy(p.out + r * p.out_row * size, p.in + r * p.in_row * size, static_cast<size_t>(p.n * size));
}

template <class T>
void fill_rows(const Piece& p) {
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  for (int64_t r = 0; r < p.rows; ++r) {
    char* to = p.out + r * p.out_row * size;
    const T value = load<T>(p.in + r * p.in_row * size);
    for (int64_t i = 0; i < p.n; ++i) store(to + i * size, value);
  }
}

template <class T>
void copy_elements(const Piece& p) {
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  for (int64_t r = 0; r < p.rows; ++r) {
    char* to = p.out + r * p.out_row * size;
    const char* from = p.in + r * p.in_row * size;
    for (int64_t i = 0; i < p.n; ++i) store(to + i * p.out_stride * size, load<T>(from + i * p.in_stride * size));
  }
}

int64_t pieces(int64_t size, int64_t piece) { return (size + piece - 1) / piece; }

}  // namespace

NestWalk::NestWalk(const LoopNest& nest, int rank, int64_t start) : odometer_{rank, nest.shape, {}} {
  INTERNAL_CHECK(nest.strides.size() <= kOperands, "a walk over " << nest.strides.size() << " operands");
  if (start != 0) odometer_.seek(start);  // a walk over an empty nest has no number to divide
  for (size_t k = 0; k < nest.strides.size(); ++k) {
    strides_[k] = nest.strides[k];
    for (int d = 0; d < rank; ++d) offset_[k] += odometer_.index[d] * strides_[k][d];
  }
}

StridedCopy::StridedCopy(const View& out, const View& in, int64_t bytes) : bytes_(bytes) {
  INTERNAL_CHECK(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8, "elements of " << bytes << " bytes");
  nest_ = make_nest(out.rank, out.shape, {out.strides, in.strides});
  int inner = nest_.rank - 1;
  kind_ = nest_.strides[0][inner] != 1   ? Kind::elements
          : nest_.strides[1][inner] == 1 ? Kind::rows
          : nest_.strides[1][inner] == 0 ? Kind::fill
                                         : Kind::elements;
  if (kind_ == Kind::elements) pair_transposed_dims();
  const int64_t row_bytes = std::max<int64_t>(1, nest_.shape[inner] * bytes_);
  whole_rows_ = kind_ == Kind::transpose || (nest_.rank > 1 && 2 * row_bytes <= kChunkBytes);
  outer_ = nest_.rank - (whole_rows_ ? 2 : 1);
  chunk_ = kind_ == Kind::transpose ? kTransposeColumns : std::max<int64_t>(1, kChunkBytes / (whole_rows_ ? row_bytes : bytes_));
  chunks_ = pieces(nest_.shape[outer_], chunk_);
  const int64_t count = nest_.numel();
  units_ = count == 0 ? 0 : product(outer_, nest_.shape) * chunks_;
  threads_ = threads_for(count);
}

// Makes the dim along which `in` is dense the second innermost: the last two dims are then a transposition.
void StridedCopy::pair_transposed_dims() {
  const int inner = nest_.rank - 1;
  if (nest_.strides[0][inner] != 1 || nest_.strides[1][inner] == 0) return;
  for (int d = 0; d < inner; ++d) {
    if (nest_.strides[1][d] != 1 || nest_.shape[d] < 4) continue;
    for (int e = d; e + 1 < inner; ++e) {
      std::swap(nest_.shape[e], nest_.shape[e + 1]);
      for (Ix& s : nest_.strides) std::swap(s[e], s[e + 1]);
    }
    kind_ = Kind::transpose;
    return;
  }
}

void StridedCopy::run(void* out, const void* in) const {
  parallel_ranges(threads_, units_, [&](int, int64_t begin, int64_t end) { copy_units(static_cast<char*>(out), static_cast<const char*>(in), begin, end); });
}

void StridedCopy::copy_units(char* out, const char* in, int64_t begin, int64_t end) const {
  const int inner = nest_.rank - 1, split = outer_;
  const Ix &to = nest_.strides[0], &from = nest_.strides[1];
  NestWalk walk(nest_, outer_, begin / chunks_);
  int64_t chunk = begin % chunks_;
  with_element(bytes_, [&]<class T>() {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = chunk * chunk_, count = std::min(chunk_, nest_.shape[split] - first);
      const Piece p{out + (walk.offset(0) + first * to[split]) * bytes_,
                    in + (walk.offset(1) + first * from[split]) * bytes_,
                    whole_rows_ ? count : 1,
                    whole_rows_ ? nest_.shape[inner] : count,
                    to[split],
                    from[split],
                    to[inner],
                    from[inner]};
      switch (kind_) {
        case Kind::rows:
          copy_rows<T>(p);
          break;
        case Kind::fill:
          fill_rows<T>(p);
          break;
        case Kind::transpose:
          transpose(reinterpret_cast<const T*>(p.in), p.in_stride, reinterpret_cast<T*>(p.out), p.out_row, p.n, p.rows);
          break;
        case Kind::elements:
          copy_elements<T>(p);
          break;
      }
      if (++chunk == chunks_) {
        chunk = 0;
        walk.next();
      }
    }
  });
}

}  // namespace tuyere::cpu
