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

struct Piece {
  char* out;
  const char* in;
  int64_t n, out_stride, in_stride;
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
void copy_elements(const Piece& p) {
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  const int64_t to = p.out_stride * size, from = p.in_stride * size;
  if (from == 0) {
    const T value = load<T>(p.in);
    for (int64_t i = 0; i < p.n; ++i) store(p.out + i * to, value);
  } else {
    for (int64_t i = 0; i < p.n; ++i) store(p.out + i * to, load<T>(p.in + i * from));
  }
}

template <class T>
void fill_row(const Piece& p) {
  const T value = load<T>(p.in);
  for (int64_t i = 0; i < p.n; ++i) store(p.out + i * static_cast<int64_t>(sizeof(T)), value);
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
  outer_ = nest_.rank - (kind_ == Kind::transpose ? 2 : 1);
  chunk_ = kind_ == Kind::transpose ? kTransposeColumns : std::max<int64_t>(1, kChunkBytes / bytes_);
  inner = kind_ == Kind::transpose ? nest_.rank - 2 : nest_.rank - 1;
  chunks_ = pieces(nest_.shape[inner], chunk_);
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
  const int inner = nest_.rank - 1, split = kind_ == Kind::transpose ? inner - 1 : inner;
  const Ix &to = nest_.strides[0], &from = nest_.strides[1];
  NestWalk walk(nest_, outer_, begin / chunks_);
  int64_t chunk = begin % chunks_;
  with_element(bytes_, [&]<class T>() {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = chunk * chunk_, n = std::min(chunk_, nest_.shape[split] - first);
      const Piece p{out + (walk.offset(0) + first * to[split]) * bytes_, in + (walk.offset(1) + first * from[split]) * bytes_, n, to[inner], from[inner]};
      switch (kind_) {
        case Kind::rows:
          std::memcpy(p.out, p.in, static_cast<size_t>(n * bytes_));
          break;
        case Kind::fill:
          fill_row<T>(p);
          break;
        case Kind::transpose:
          transpose(reinterpret_cast<const T*>(p.in), p.in_stride, reinterpret_cast<T*>(p.out), to[split], nest_.shape[inner], n);
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
