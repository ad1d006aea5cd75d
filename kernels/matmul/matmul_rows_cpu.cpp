// SPDX-License-Identifier: Apache-2.0
// own.matmul.rows: few rows against a matrix that is read once, as it lies in memory. The time is that of reading the matrix, so rows of it are streamed
// from end to end: dot products where they run along the depth, weighted sums of them where they run along the columns.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/row_functions.h"
#include "kernels/matmul/matmul_kernels.h"
#include "kernels/pointwise/tile_loop.h"

namespace tuyere::cpu {
namespace {

constexpr int64_t kColumns = 1024;  // of one weighted sum: the result stays in the first cache
constexpr int kRowsDepth = 8;       // rows that one weighted sum joins before they meet the result, which also keeps rounding errors apart

// The matrix b as [depth, columns].
struct Matrix {
  DType type;
  int64_t depth, columns, depth_stride, column_stride;
  bool along_depth() const { return depth_stride == 1; }
};

class FewRows {
 public:
  FewRows(const MatMul& op, const CpuProblem& p) : a_(p.args.in[0]), inputs_(p.inputs()), out_slot_(p.inputs()) {
    View b(p.args.in[1]);
    if (op.trans_a) a_ = a_.transposed();
    if (op.trans_b) b = b.transposed();
    const int last = b.rank - 1;
    b_ = {b.dtype, b.shape[last - 1], b.shape[last], b.strides[last - 1], b.strides[last]};
    load_a_ = tile_load(a_.dtype, DType::F32);
    load_b_ = tile_load(b_.type, DType::F32);
    for_each_index(a_.rank - 1, a_.shape, [&](const Ix& i) { row_offsets_.push_back(a_.offset(i)); });
    rows_ = static_cast<int64_t>(row_offsets_.size());
    values_.resize(static_cast<size_t>(rows_ * b_.depth));
    result_.resize(static_cast<size_t>(rows_ * b_.columns));
    threads_ = static_cast<int>(std::min<int64_t>(threads_for(b_.depth * b_.columns * (rows_ + 3) / 4), std::max<int64_t>(1, b_.columns / 16)));
    loaded_stride_ = b_.type == DType::F32 || dots_short() ? 0 : b_.along_depth() ? kGroup * b_.depth : kColumns * kRowsDepth;
    loaded_.resize(static_cast<size_t>(loaded_stride_ * threads_));
    make_finish(op, p);
  }

  void operator()(void* const* ptr) {
    for (int64_t m = 0; m < rows_; ++m) {
      const Patch row{element(ptr[0], a_.dtype, row_offsets_[static_cast<size_t>(m)]), 0, a_.strides[a_.rank - 1]};
      load_a_(row, values_.data() + m * b_.depth, 1, b_.depth);
    }
    parallel_parts(threads_, b_.columns, [&](int thread, int64_t begin, int64_t end) {
      float* buffer = loaded_.data() + thread * loaded_stride_;
      b_.along_depth() ? dot_rows(ptr[1], begin, end, buffer) : add_rows(ptr[1], begin, end, buffer);
    });
    std::array<void*, TileLoop::kMaxOperands> data{};
    data[0] = ptr[out_slot_];
    data[1] = result_.data();
    for (int k = 2; k < inputs_; ++k) data[static_cast<size_t>(k)] = ptr[k];
    finish_->run(data.data());
  }

 private:
  static constexpr int64_t kGroup = 8;  // rows of b that share one reading of a

  static const void* element(const void* data, DType type, int64_t offset) { return static_cast<const char*>(data) + offset * (bits(type) / 8); }

  // The epilogue over the dense result.
  void make_finish(const MatMul& op, const CpuProblem& p) {
    const View out(p.args.out[0]);
    std::vector<View> operands{out, out.dense(DType::F32)};
    std::vector<DType> types{DType::F32};
    for (int k = 2; k < p.inputs(); ++k) {
      operands.push_back(View(p.args.in[k]).broadcast_to(out));
      types.push_back(operands.back().dtype);
    }
    TileProgram program(op.epilogue, types, {out.dtype});
    finish_ = std::make_shared<TileLoop>(std::move(program), out, operands, 1, 1 + static_cast<int64_t>(op.epilogue.body.size()));
  }

  // `rows` rows of `n` values of b in f32: where they lie, or in `buffer`.
  const float* rows_of(const void* b, int64_t offset, int64_t row_stride, int64_t rows, int64_t n, float* buffer, int64_t* stride) const {
    const void* from = element(b, b_.type, offset);
    *stride = row_stride;
    if (b_.type == DType::F32) return static_cast<const float*>(from);
    load_b_(Patch{from, row_stride, 1}, buffer, rows, n);
    *stride = n;
    return buffer;
  }

  /// Rows of bf16 are multiplied as they lie.
  bool dots_short() const { return b_.type == DType::BF16 && b_.along_depth(); }

  /// Memory gives a third more when it is read at several places at once: the rows of a group lie far apart.
  void dot_rows(const void* b, int64_t begin, int64_t end, float* buffer) {
    const int64_t apart = (end - begin) / kGroup;
    for (int64_t i = 0; i < apart; ++i) dot_group(b, begin + i, apart, kGroup, buffer);
    for (int64_t last = begin + apart * kGroup; last < end; ++last) dot_group(b, last, 1, 1, buffer);
  }

  void dot_group(const void* b, int64_t first, int64_t apart, int64_t count, float* buffer) {
    int64_t stride = apart * b_.column_stride;
    const void* rows = element(b, b_.type, first * b_.column_stride);
    if (!dots_short()) rows = rows_of(b, first * b_.column_stride, stride, count, b_.depth, buffer, &stride);
    std::array<float, kGroup> dots;
    for (int64_t m = 0; m < rows_; ++m) {
      const float* a = values_.data() + m * b_.depth;
      if (dots_short()) {
        row_functions().dots_short(a, static_cast<const uint16_t*>(rows), stride, count, b_.depth, dots.data());
      } else {
        row_functions().dots(a, static_cast<const float*>(rows), stride, count, b_.depth, dots.data());
      }
      for (int64_t k = 0; k < count; ++k) result_[static_cast<size_t>(m * b_.columns + first + k * apart)] = dots[static_cast<size_t>(k)];
    }
  }

  void add_rows(const void* b, int64_t begin, int64_t end, float* buffer) {
    std::array<const float*, kRowsDepth + 1> rows;
    std::array<float, kRowsDepth + 1> weights;
    for (int64_t m = 0; m < rows_; ++m) std::fill_n(result_.data() + m * b_.columns + begin, end - begin, 0.0f);
    for (int64_t k = 0; k < b_.depth; k += kRowsDepth) {
      const auto count = static_cast<int>(std::min<int64_t>(kRowsDepth, b_.depth - k));
      for (int64_t first = begin; first < end; first += kColumns) {
        const int64_t n = std::min(kColumns, end - first);
        int64_t stride = 0;
        const float* from = rows_of(b, k * b_.depth_stride + first, b_.depth_stride, count, n, buffer, &stride);
        for (int64_t m = 0; m < rows_; ++m) {
          float* to = result_.data() + m * b_.columns + first;
          for (int j = 0; j < count; ++j) {
            rows[static_cast<size_t>(j)] = from + j * stride;
            weights[static_cast<size_t>(j)] = values_[static_cast<size_t>(m * b_.depth + k + j)];
          }
          rows[static_cast<size_t>(count)] = to;
          weights[static_cast<size_t>(count)] = 1;
          row_functions().weighted_sum(rows.data(), weights.data(), count + 1, to, n);
        }
      }
    }
  }

  View a_;
  Matrix b_{};
  int inputs_, out_slot_, threads_ = 1;
  int64_t rows_ = 0, loaded_stride_ = 0;
  LoadFn load_a_ = nullptr, load_b_ = nullptr;
  std::vector<int64_t> row_offsets_;
  std::vector<float> values_, result_, loaded_;  // a, the sums, and rows of b that are not f32
  std::shared_ptr<TileLoop> finish_;
};

std::unique_ptr<Executable> prepare_rows(const CpuProblem& p) {
  if (p.args.in[0].numel() == 0 || p.args.in[1].numel() == 0) return prepare_kernel("reference.matmul", p);
  return executable(FewRows(attrs<MatMul>(p), p));
}

}  // namespace

void add_matmul_rows(CpuKernelTable& table) { table.push_back({"own.matmul.rows", prepare_rows}); }

}  // namespace tuyere::cpu
