// SPDX-License-Identifier: Apache-2.0
// Random networks: print, parse, rewrite, validate.
#include <gtest/gtest.h>

#include <random>

#include "core/network/network.h"

namespace tuyere {
namespace {

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  Network make(int layers) {
    for (int k = 0; k < 3; ++k) pool_.push_back(net_.add_input({pick<DType>({DType::F32, DType::F16}), shape(), {}}, "x"));
    pool_.push_back(net_.add_scalar(DType::F32, below(100) / 8.0));
    pool_.push_back(net_.add_constant(DType::F16, shape(), {"w", true, nullptr}));
    for (int k = 0; k < layers; ++k) step();
    for (int k = 0; k < 3; ++k) net_.mark_output(any());
    net_.bodies[0].tensors[any()].observed = true;
    return std::move(net_);
  }

  TensorId any() { return pool_[below(static_cast<int>(pool_.size()))]; }
  int below(int n) { return static_cast<int>(random_() % n); }

 private:
  template <class T>
  T pick(std::vector<T> from) {
    return from[below(static_cast<int>(from.size()))];
  }

  Shape shape() { return {2, 3, 4}; }

  void step() {
    const TensorId x = any(), y = any();
    const DType type = pick<DType>({DType::F32, DType::F16});
    const int rank = static_cast<int>(net_.type(x).shape.size());
    const Origins origins = below(2) ? Origins{{"m." + std::to_string(below(4)), "aten::op", "", "model.py:" + std::to_string(below(50))}} : Origins{};
    switch (below(8)) {
      case 0:
        return put(net_.pointwise(pick<Fn>({Fn::relu, Fn::exp, Fn::silu}), {x}, type, origins));
      case 1:
        return pair(x, y, type, origins);
      case 2:
        return put(net_.cast(x, type, origins));
      case 3:
        return rank > 0 ? put(net_.add1(Softmax{.axis = -1, .type = type}, {x}, origins)) : void();
      case 4:
        return rank > 0 ? put(net_.add1(Reduce{.axes = {0}, .keepdim = true, .type = type}, {x}, origins)) : void();
      case 5:
        return rank > 0 ? put(net_.add1(Concat{0}, {x, x}, origins)) : void();
      case 6:
        return rank > 0 ? put(net_.add(TopK{.k = 1}, {x}, origins)[0]) : void();
      default:
        return put(net_.add1(Reshape{{numel(net_.type(x).shape)}}, {x}, origins));
    }
  }

  void pair(TensorId x, TensorId y, DType type, const Origins& origins) {
    const Shape &a = net_.type(x).shape, &b = net_.type(y).shape;
    if (a != b && !b.empty()) return;
    if (below(2)) return put(net_.pointwise(pick<Fn>({Fn::add, Fn::mul, Fn::max}), {x, y}, type, origins));
    put(net_.pointwise(Fn::where, {net_.pointwise(Fn::lt, {x, y}, DType::Bool), x, y}, type, origins));
  }

  void put(TensorId id) { pool_.push_back(id); }

  std::mt19937 random_;
  Network net_;
  std::vector<TensorId> pool_;
};

TEST(RandomNetwork, TextRoundTrip) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    const Network network = Generator(seed).make(25);
    validate(network);
    const Network again = parse_network(str(network));
    validate(again);
    ASSERT_TRUE(again == network) << str(network) << "---\n" << str(again);
  }
}

TEST(RandomNetwork, RewritingKeepsTheInvariants) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    Generator generator(seed);
    Network network = generator.make(25);
    for (int k = 0; k < 10; ++k) {  // insert a function after tensors in the middle, so that layers must be sorted
      const TensorId x = generator.any();
      network.replace(x, network.pointwise(Fn::abs, {x}, network.type(x).dtype));
    }
    network.compact();
    validate(network, Phase::laid_out);
    EXPECT_FALSE(network.compact());
    ASSERT_TRUE(parse_network(str(network)) == network);
  }
}

}  // namespace
}  // namespace tuyere
