// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce/fold.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "common/error.h"
#include "kernels/cpu/row_functions.h"

namespace tuyere::cpu {
namespace {

double fold_real(ReduceKind kind, double a, double x) {
  switch (kind) {
    case ReduceKind::prod:
      return a * x;
    case ReduceKind::max:
      return x > a || x != x ? x : a;
    case ReduceKind::min:
      return x < a || x != x ? x : a;
    case ReduceKind::any:
      return a != 0 || x != 0;
    case ReduceKind::all:
      return a != 0 && x != 0;
    default:
      return a + x;
  }
}

int64_t fold_exact(ReduceKind kind, int64_t a, int64_t x) {
  switch (kind) {
    case ReduceKind::prod:
      return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(x));
    case ReduceKind::max:
      return x > a ? x : a;
    case ReduceKind::min:
      return x < a ? x : a;
    default:
      return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(x));
  }
}

// step = 0 folds into one cell, 1 into neighbouring ones.
template <class T>
void fold_values(ReduceKind kind, bool exact, const T* values, int64_t n, Cell* cells, const Cell* means, int64_t step) {
  if (means) {
    for (int64_t i = 0; i < n; ++i) {
      const double d = static_cast<double>(values[i]) - means[i * step].real;
      cells[i * step].real += d * d;
    }
  } else if (exact) {
    for (int64_t i = 0; i < n; ++i) cells[i * step].exact = fold_exact(kind, cells[i * step].exact, static_cast<int64_t>(values[i]));
  } else {
    for (int64_t i = 0; i < n; ++i) cells[i * step].real = fold_real(kind, cells[i * step].real, static_cast<double>(values[i]));
  }
}

void fold_any(DType type, ReduceKind kind, bool exact, const void* values, int64_t n, Cell* cells, const Cell* means, int64_t step) {
  switch (type) {
    case DType::F32:
      return fold_values(kind, exact, static_cast<const float*>(values), n, cells, means, step);
    case DType::F64:
      return fold_values(kind, exact, static_cast<const double*>(values), n, cells, means, step);
    case DType::I32:
      return fold_values(kind, exact, static_cast<const int32_t*>(values), n, cells, means, step);
    case DType::I64:
      return fold_values(kind, exact, static_cast<const int64_t*>(values), n, cells, means, step);
    default:
      return fold_values(kind, exact, static_cast<const uint8_t*>(values), n, cells, means, step);
  }
}

/// column_sums: for values of type T.
template <class T>
void sum_columns(void (*column_sums)(const T*, int64_t, int64_t, int64_t, const float*, double*), const T* values, int64_t row_stride, int64_t rows, int64_t n,
                 Cell* cells, const Cell* means) {
  constexpr int64_t kPart = 256;
  std::array<float, kPart> part;
  for (int64_t first = 0; first < n; first += kPart) {
    const int64_t count = std::min(kPart, n - first);
    for (int64_t i = 0; means && i < count; ++i) part[static_cast<size_t>(i)] = static_cast<float>(means[first + i].real);
    column_sums(values + first, row_stride, rows, count, means ? part.data() : nullptr, &cells[first].real);
  }
}

}  // namespace

Fold::Fold(ReduceKind kind, DType type) : kind_(kind), type_(type) {
  const bool keeps_integers = kind == ReduceKind::sum || kind == ReduceKind::prod || kind == ReduceKind::max || kind == ReduceKind::min;
  exact_ = !is_float(type) && keeps_integers;
}

Cell Fold::identity() const {
  Cell c;
  if (exact_) {
    c.exact = kind_ == ReduceKind::prod  ? 1
              : kind_ == ReduceKind::max ? std::numeric_limits<int64_t>::min()
              : kind_ == ReduceKind::min ? std::numeric_limits<int64_t>::max()
                                         : 0;
  } else {
    c.real = kind_ == ReduceKind::prod || kind_ == ReduceKind::all ? 1 : kind_ == ReduceKind::max ? -INFINITY : kind_ == ReduceKind::min ? INFINITY : 0;
  }
  return c;
}

void Fold::row(const void* values, int64_t n, Cell* cell, const Cell* mean) const {
  if (type_ == DType::F32 && n >= 8) {
    const auto* x = static_cast<const float*>(values);
    const RowFunctions& f = row_functions();
    switch (kind_) {
      case ReduceKind::sum:
      case ReduceKind::mean:
        cell->real += f.sum(x, n);
        return;
      case ReduceKind::var:
        cell->real += mean ? f.sum_squared_difference(x, n, static_cast<float>(mean->real)) : f.sum(x, n);
        return;
      case ReduceKind::max:
        cell->real = fold_real(kind_, cell->real, static_cast<double>(f.max(x, n)));
        return;
      case ReduceKind::min:
        cell->real = fold_real(kind_, cell->real, static_cast<double>(f.min(x, n)));
        return;
      default:
        break;
    }
  }
  fold_any(type_, kind_, exact_, values, n, cell, mean, 0);
}

void Fold::columns(const void* values, int64_t n, Cell* cells, const Cell* means) const {
  if (type_ == DType::F32 && (means || sums())) {
    return column_rows(static_cast<const float*>(values), n, 1, n, cells, means);
  }
  fold_any(type_, kind_, exact_, values, n, cells, means, 1);
}

void Fold::column_rows(const float* values, int64_t row_stride, int64_t rows, int64_t n, Cell* cells, const Cell* means) const {
  const RowFunctions& f = row_functions();
  if (sums()) return sum_columns(f.column_sums, values, row_stride, rows, n, cells, means);
  constexpr int64_t kPart = 256;
  std::array<float, kPart> part;
  std::array<const float*, 64> list;
  for (int64_t first = 0; first < n; first += kPart) {
    const int64_t count = std::min(kPart, n - first);
    const float* x = values + first;
    Cell* to = cells + first;
    if (kind_ == ReduceKind::max) {
      for (int64_t r = 0; r < rows; r += static_cast<int64_t>(list.size())) {
        const int64_t some = std::min<int64_t>(static_cast<int64_t>(list.size()), rows - r);
        for (int64_t k = 0; k < some; ++k) list[static_cast<size_t>(k)] = x + (r + k) * row_stride;
        f.pool(list.data(), some, true, 1, part.data(), count);
        fold_any(type_, kind_, exact_, part.data(), count, to, nullptr, 1);
      }
    } else {
      for (int64_t r = 0; r < rows; ++r) fold_any(type_, kind_, exact_, x + r * row_stride, count, to, nullptr, 1);
    }
  }
}

void Fold::short_column_rows(const uint16_t* values, int64_t row_stride, int64_t rows, int64_t n, Cell* cells, const Cell* means) const {
  sum_columns(row_functions().column_sums_short, values, row_stride, rows, n, cells, means);
}

void Fold::join(Cell* cell, Cell part) const {
  if (exact_) {
    cell->exact = fold_exact(kind_, cell->exact, part.exact);
  } else {
    cell->real = fold_real(kind_, cell->real, part.real);
  }
}

}  // namespace tuyere::cpu
