// SPDX-License-Identifier: Apache-2.0
// Building, reading, rewriting, validating.
#include <gtest/gtest.h>

#include "common/error.h"
#include "core/network/network.h"

namespace tuyere {
namespace {

TensorType f32(const char* shape) { return {DType::F32, parse_shape(shape), {}}; }

template <class F>
std::string error_of(F&& f) {
  try {
    f();
    return "no error";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Network, ErrorsNameLayerOpAndSource) {
  Network net;
  const TensorId x = net.add_input(f32("[1,2,3,4]"), "x");
  const Origins origins{{"encoder.attn", "aten::_softmax", "softmax", "model.py:88"}};
  net.add(Softmax{.axis = 1}, {x}, origins);
  EXPECT_EQ(error_of([&] { net.add(Softmax{.axis = 4}, {x}, origins); }),
            "error: softmax 'encoder.attn/softmax_1' (aten::_softmax, model.py:88): axis 4 out of range for rank 4");
  EXPECT_EQ(net.main().layers.size(), 1u);  // a refused layer leaves nothing behind
  EXPECT_EQ(net.main().tensors.size(), 2u);
}

TEST(Network, Names) {
  Network net;
  const TensorId x = net.add_input(f32("[4]"), "x");
  EXPECT_EQ(net.tensor(net.add_input(f32("[4]"), "x")).name, "x_1");
  EXPECT_EQ(net.tensor(net.pointwise(Fn::relu, {x}, DType::F32)).name, "relu");
  EXPECT_EQ(net.tensor(net.pointwise(Fn::relu, {x}, DType::F32)).name, "relu_1");
  EXPECT_EQ(net.tensor(net.add1(Softmax{}, {x}, {{"a.b", "aten::softmax", "", ""}})).name, "a.b/softmax");
  EXPECT_EQ(net.tensor(net.add1(Softmax{}, {x}, {{"", "aten::softmax", "softmax_7", ""}})).name, "softmax_7");
  const std::vector<TensorId> two = net.add(TopK{.k = 1}, {x});
  EXPECT_EQ(net.tensor(two[0]).name, "topk");
  EXPECT_EQ(net.tensor(two[1]).name, "topk_1");
}

TEST(Network, CanonicalOps) {
  Network net;
  const TensorId x = net.add_input(f32("[1,3,8,8]"), "x");
  const TensorId w = net.add_constant(DType::F32, {4, 3, 3, 3}, {"w", true, nullptr});
  const Conv& conv = std::get<Conv>(net.producer(net.add1(Conv{.stride = {2, 2}}, {x, w}))->op);
  EXPECT_EQ(conv.pad_after, (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(conv.dilation, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(std::get<Softmax>(net.producer(net.add1(Softmax{.axis = -1}, {x}))->op).axis, 3);
  EXPECT_EQ(std::get<Reduce>(net.producer(net.add1(Reduce{.axes = {-1, 0}}, {x}))->op).axes, (std::vector<int64_t>{3, 0}));
}

TEST(Network, ConstantsAreShared) {
  Network net;
  const Constant w{"w", true, std::make_shared<std::vector<std::byte>>(8)};
  net.add_constant(DType::F32, {2}, w);
  net.add_constant(DType::F32, {2}, w);
  EXPECT_EQ(net.constants.size(), 1u);
  const Constant other{"w", true, std::make_shared<std::vector<std::byte>>(8, std::byte{1})};
  EXPECT_EQ(error_of([&] { net.add_constant(DType::F32, {2}, other); }), "error: constant 'w': parameter 'w' is there already with other data");
  EXPECT_EQ(error_of([&] { net.add_constant(DType::F32, {3}, w); }), "error: constant 'w': has 8 bytes, f32[3] needs 12");
}

TEST(Network, PointwiseConvertsArguments) {
  Network net;
  const TensorId i = net.add_input({DType::I64, parse_shape("[n]"), {}}, "i");
  const TensorId h = net.add_input({DType::F16, parse_shape("[n]"), {}}, "h");
  const TensorId sum = net.pointwise(Fn::add, {i, h}, DType::F16);
  EXPECT_EQ(str(std::get<Pointwise>(net.producer(sum)->op).program), "add(cast(i0:i64, f32), i1:f32)");
  EXPECT_EQ(net.type(net.pointwise(Fn::lt, {i, h}, DType::Bool)).dtype, DType::Bool);
  EXPECT_EQ(net.type(net.pointwise(Fn::where, {i, h, i}, DType::F32)).dtype, DType::F32);
  EXPECT_EQ(net.cast(h, DType::F16), h);
  EXPECT_EQ(net.type(net.cast(h, DType::I8)).dtype, DType::I8);
  validate(net);
  EXPECT_EQ(error_of([&] { net.pointwise(Fn::add, {i}, DType::F32); }), "error: add: takes 2 inputs, got 1");
}

TEST(Network, ConstantValuesThroughViews) {
  Network net = parse_network(
      "c = literal f32[2,3] [0, 1, 2, 3, 4, 5]\n"
      "p = permute(c) perm=[1,0]\n"
      "s = slice(p) axis=0 start=1 end=3\n"
      "r = reshape(s) shape=[4]\n"
      "t = slice(c) axis=1 start=0 end=1\n"
      "e = expand(t) shape=[2,2,2]\n"
      "n = relu(c)\n"
      "return r, e, n\n");
  EXPECT_EQ(net.constant_values(net.main().outputs[0]), (std::vector<double>{1, 4, 2, 5}));
  EXPECT_EQ(net.constant_values(net.main().outputs[1]), (std::vector<double>{0, 0, 3, 3, 0, 0, 3, 3}));
  EXPECT_TRUE(net.constant_values(net.main().outputs[2]).empty());
}

TEST(Network, ReplaceMovesUsesOriginsAndNames) {
  Network net = parse_network(
      "x = input f32[n]\n"
      "a = exp(x)  # m (aten::exp, m.py:1)\n"
      "b = neg(a)  # m (aten::neg, m.py:2)\n"
      "c = abs(b)\n"
      "observe b\n"
      "return b, c\n");
  const TensorId b = net.main().outputs[0];
  const TensorId fresh = net.pointwise(Fn::sin, {0}, DType::F32);
  net.replace(b, fresh);
  EXPECT_EQ(net.uses(b), 0);
  EXPECT_EQ(net.uses(fresh), 3);
  EXPECT_EQ(net.consumers(fresh).size(), 1u);
  EXPECT_EQ(str(net.producer(fresh)->origins), "m (aten::neg, m.py:2)");
  EXPECT_TRUE(net.compact());
  validate(net, Phase::optimized);
  EXPECT_EQ(str(net), "x = input f32[n]\nb = sin(x)  # m (aten::neg, m.py:2)\nc = abs(b)\nobserve b\nreturn b, c\n");
  EXPECT_NE(error_of([&] { net.replace(0, net.cast(0, DType::F16)); }).find("'x' of type f32[n] cannot be replaced by 'cast' of type f16[n]"),
            std::string::npos);
}

TEST(Network, EraseAndSetInput) {
  Network net = parse_network("x = input f32[n]\na = exp(x)\nb = neg(a)\nreturn b\n");
  EXPECT_NE(error_of([&] { net.erase(0); }).find("'a' is still used"), std::string::npos);
  net.set_input(1, 0, 0);
  net.erase(0);
  EXPECT_EQ(net.producer(1), nullptr);
  EXPECT_NE(error_of([&] { validate(net, Phase::optimized); }).find("was erased but is still there"), std::string::npos);
  EXPECT_TRUE(net.compact());
  EXPECT_EQ(str(net), "x = input f32[n]\nb = neg(x)\nreturn b\n");
}

TEST(Network, CompactDropsBodiesAndConstants) {
  Network net = parse_network(
      "x = input f32[n]\nw = param f32[2] \"w\"\ndead = call(x) body=1\ny = call(x) body=2\nreturn y\n"
      "body 1 {\n x = input f32[n]\n y = exp(x)\n return y\n}\nbody 2 {\n x = input f32[n]\n y = neg(x)\n z = abs(x)\n return y\n}\n");
  EXPECT_TRUE(net.compact());
  validate(net, Phase::optimized);
  EXPECT_EQ(str(net), "x = input f32[n]\ny = call(x) body=1\nreturn y\nbody 1 {\n  x = input f32[n]\n  y = neg(x)\n  return y\n}\n");
  EXPECT_TRUE(net.constants.empty());
}

TEST(Network, ControlFlowTypes) {
  const std::string bodies = "body 1 {\n x = input f32[n]\n y = exp(x)\n return y\n}\nbody 2 {\n x = input f32[n]\n y = cast(x) type=f16\n return y\n}\n";
  EXPECT_NE(error_of([&] {
              parse_network("c = input bool[]\nx = input f32[n]\ny = if(c, x) then_body=1 else_body=2\nreturn y\n" + bodies);
            }).find("outputs of body 2: tensor 0 is f16[n], needs f32[n]"),
            std::string::npos);
  EXPECT_NE(
      error_of([&] { parse_network("x = input f32[m]\ny = call(x) body=1\nreturn y\n" + bodies); }).find("inputs of body 1: tensor 0 is f32[n], needs f32[m]"),
      std::string::npos);
  EXPECT_NE(error_of([&] {
              parse_network("x = input f32[n]\ny = while(x) cond_body=1 loop_body=1\nreturn y\n" + bodies);
            }).find("the output of body 1 must be one bool of rank 0"),
            std::string::npos);
}

struct Break {
  void (*damage)(Network&);
  const char* message;
};

TEST(Validate, FindsDamage) {
  const Break cases[] = {
      {[](Network& n) { n.main().layers[0].inputs[0] = 99; },
       "conv 'y' (aten::convolution, m.py:1): in body 0: in validation of network 'network': input 99 does not exist"},
      {[](Network& n) { n.main().outputs[0] = -1; }, "body output -1 does not exist"},
      {[](Network& n) { std::swap(n.main().layers[0], n.main().layers[1]); }, "says that layer 1 produces it"},
      {[](Network& n) { n.main().layers[0].inputs[0] = n.main().outputs[0]; }, "reads 'z' before it is computed"},
      {[](Network& n) { n.main().tensors[n.main().outputs[0]].type.dtype = DType::F16; },
       "relu 'z': in body 0: in validation of network 'network': output 0 is f16[1,4,6,6], needs f32[1,4,6,6]"},
      {[](Network& n) { n.main().tensors[0].type.shape[1] = 5; }, "the input has 5 channels"},
      {[](Network& n) { n.main().tensors[0].name = "z"; }, "two tensors are named 'z'"},
      {[](Network& n) {
         n.main().tensors[0].type.layout.order = {0, 1, 1, 2};
       },
       "layout @0112 is no permutation"},
      {[](Network& n) {
         n.main().tensors[0].type.layout.order = {0, 1};
       },
       "does not fit rank 4"},
      {[](Network& n) { n.constants[0].data = std::make_shared<std::vector<std::byte>>(3); }, "constant 'w' has 3 bytes"},
      {[](Network& n) { n.constants.push_back(n.constants[0]); }, "two constants are named 'w'"},
      {[](Network& n) { n.main().inputs.push_back(n.main().outputs[0]); }, "has 2 sources among inputs, constants and layers, needs 1"},
      {[](Network& n) { n.main().inputs.clear(); }, "tensor 'x': in body 0: in validation of network 'network': has 0 sources"},
      {[](Network& n) { n.main().layers[0].dead = true; }, "reads 'y', whose layer was erased"},
      {[](Network& n) { std::get<Pointwise>(n.main().layers[1].op).program.body[0].type = DType::I64; }, "program: v1 = relu is i64, needs f32"},
      {[](Network& n) { n.bodies.emplace_back(), n.main().layers[1].op = Call{0}; }, "body 0 contains itself"},
  };
  const Network good =
      parse_network("x = input f32[1,3,8,8]\nw = param f32[4,3,3,3] \"w\"\ny = conv(x, w)  # c (aten::convolution, m.py:1)\nz = relu(y)\nreturn z\n");
  validate(good, Phase::laid_out);
  for (const Break& c : cases) {
    Network bad = good;
    c.damage(bad);
    try {
      validate(bad);
      ADD_FAILURE() << "not found: " << c.message;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::Internal);
      EXPECT_NE(std::string(error.what()).find(c.message), std::string::npos) << error.what();
    }
  }
}

TEST(Validate, Phases) {
  Network net = parse_network("x = input f32[1,3,8,8]@/v4\ny = relu(x)\nz = exp(x)\nreturn y\n");
  validate(net);
  EXPECT_NE(error_of([&] { validate(net, Phase::optimized); }).find("exp 'z': in body 0: in validation of network 'network': nobody reads its results"),
            std::string::npos);
  net.compact();
  validate(net, Phase::optimized);
  EXPECT_NE(error_of([&] { validate(net, Phase::laid_out); }).find("'x' is an input or output and has the blocked or padded layout @/v4"), std::string::npos);
}

TEST(Network, LayoutText) {
  EXPECT_EQ(str(Layout::channels_last(4)), "@0231");
  EXPECT_EQ(str(Layout{{0, 2, 3, 1}, 8, 1}), "@0231/p8");
  EXPECT_EQ(str(TensorType{DType::F16, parse_shape("[n,64]"), {}}), "f16[n,64]");
}

TEST(Network, TensorsFollowTheirInputsLayout) {
  const Network net = parse_network("x = input f16[1,8,4,4]@0231\nreturn x\n");
  Network more = net;
  const TensorId y = more.pointwise(Fn::relu, {0}, DType::F16);
  EXPECT_EQ(str(more.type(y)), "f16[1,8,4,4]@0231");
  EXPECT_EQ(str(more.type(more.add1(Softmax{.axis = 1, .type = DType::F16}, {y}))), "f16[1,8,4,4]");
}

}  // namespace
}  // namespace tuyere
