// SPDX-License-Identifier: Apache-2.0
// Transposed convolutions drawn at random, by the kernels that take them apart into phases, on the emulator against float64 sums.
#include <gtest/gtest.h>

#include "kernels/conv/conv_view.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

class Drawn {
 public:
  explicit Drawn(unsigned seed) : rng_(seed) {}

  int64_t pick(int64_t from, int64_t to) { return from + static_cast<int64_t>(rng_() % static_cast<uint64_t>(to - from + 1)); }

  /// Images in any order of one to three dims, windows of up to three steps, with whatever padding leaves an output.
  Problem problem() {
    const int64_t sides = pick(1, 3), groups = pick(0, 3) ? 1 : 2;
    const DType type = pick(0, 1) ? DType::F16 : DType::BF16;
    Conv op{.groups = groups, .transposed = true, .type = type};
    Shape x{pick(1, 3), pick(1, 3) * 8 * groups}, w{x[1], pick(0, 1) ? pick(1, 3) * 8 : pick(1, 9)};
    Shape y{x[0], w[1] * Dim(groups)};
    for (int64_t d = 0; d < sides; ++d) {
      const int64_t stride = pick(1, sides == 1 ? 5 : 3), size = pick(1, sides == 3 ? 3 : 6), kernel = pick(1, sides == 3 ? 4 : 3 * stride);
      const int64_t extra = pick(0, stride - 1), reach = (size - 1) * stride + kernel + extra;
      const int64_t before = pick(0, std::min(reach - 1, kernel)), after = pick(0, std::min(reach - 1 - before, kernel));
      op.stride.push_back(stride), op.dilation.push_back(1), op.pad_before.push_back(before), op.pad_after.push_back(after);
      op.output_padding.push_back(extra);
      x.push_back(size), w.push_back(kernel), y.push_back(reach - before - after);
    }
    op.epilogue = parse_program("relu(add(i0:f32, i1:f32))");
    Shape bias(y.size() - 1, Dim(1));
    bias[0] = y[1];
    Problem p;
    p.in = {ordered(type, x), ordered(type, w), desc(type, bias)};
    p.out = {ordered(type, y)};
    p.op = op;
    return p;
  }

 private:
  /// Row-major, or dim 1 innermost.
  TensorDesc ordered(DType type, const Shape& shape) {
    TensorDesc t = desc(type, shape);
    if (pick(0, 2) == 0) return t;
    Dim stride = shape[1];
    t.strides[1] = 1;
    for (int d = t.rank() - 1; d >= 2; --d) t.strides[d] = stride, stride *= shape[d];
    t.strides[0] = stride;
    return t;
  }
  std::mt19937 rng_;
};

class DrawnPhases : public ::testing::TestWithParam<unsigned> {};

TEST_P(DrawnPhases, MatchReference) {
  Drawn drawn(GetParam());
  const Problem p = drawn.problem();
  const char* tiles[] = {"tile=64x16x64 stages=5 warps=4x1 splitk=1", "tile=32x32x64 stages=4 warps=2x2 splitk=1", "tile=64x32x32 stages=3 warps=2x2 splitk=2"};
  const mma::Tile tile = mma::parse_tile(tiles[drawn.pick(0, 2)], false);
  const bool joined = drawn.pick(0, 1);
  EXPECT_EQ(testing::check_conv(p, conv::phases_source(p, kHopper, tile, joined)), "") << key(p) << (joined ? " joined " : " apart ") << mma::str(tile);
}

std::vector<unsigned> seeds() {
  std::vector<unsigned> all(std::getenv("TUYERE_TEST_ALL") ? 120 : 6);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<unsigned>(i + 1);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Emulated, DrawnPhases, ::testing::ValuesIn(seeds()));

}  // namespace
}  // namespace tuyere
