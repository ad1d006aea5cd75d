// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "common/error.h"
#include "core/network/network.h"

namespace tuyere {
namespace {

/// Parses, validates, and expects the printed text to be `text` itself.
void expect_exact(const std::string& text) {
  const Network network = parse_network(text);
  validate(network);
  EXPECT_EQ(str(network), text);
  EXPECT_TRUE(parse_network(str(network)) == network);
}

std::string parse_error(const std::string& text) {
  try {
    parse_network(text);
    return "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::User);
    return error.what();
  }
}

TEST(NetworkText, HandWritten) {
  expect_exact(
      "network resnet\n"
      "x = input f16[n,8,32,32]@0231\n"
      "w = param f16[16,8,3,3] \"features.0.weight\"\n"
      "c = literal f32[] 0.5\n"
      "k = literal i64[3] [1, -2, 9007199254740993]\n"
      "y@0231 = conv(x, w) stride=[2,2] pad_before=[1,1] pad_after=[1,1] dilation=[1,1] type=f16  # features.0 (aten::convolution, model.py:12)\n"
      "z = relu(y)  # features.1 (aten::relu, model.py:13) %relu_1; features.2 (aten::relu)\n"
      "z2 = mul(z, c)\n"
      "z3 = mul(z, c) type=f32\n"
      "z4 = mul(c, z) type=f16\n"
      "big = gt(z, c)\n"
      "pick = where(big, z, z2)\n"
      "half = cast(z3) type=f16\n"
      "values, indices = topk(pick) k=5 axis=3\n"
      "observe z, values\n"
      "return half, values, indices, x, k, z4\n");
}

TEST(NetworkText, BodiesOfControlFlow) {
  expect_exact(
      "go = input bool[]\n"
      "x = input f32[n]\n"
      "a = if(go, x) then_body=1 else_body=2\n"
      "i, y = while(a, x) cond_body=3 loop_body=4\n"
      "b = call(y) body=1\n"
      "return i, b\n"
      "body 1 {\n"
      "  x = input f32[n]\n"
      "  y = exp(x)\n"
      "  return y\n"
      "}\n"
      "body 2 {\n"
      "  x = input f32[n]\n"
      "  return x\n"
      "}\n"
      "body 3 {\n"
      "  i = input f32[n]\n"
      "  x = input f32[n]\n"
      "  zero = literal f32[] 0\n"
      "  s = reduce(x) axes=[0]\n"
      "  ok = gt(s, zero)\n"
      "  return ok\n"
      "}\n"
      "body 4 {\n"
      "  i = input f32[n]\n"
      "  x = input f32[n]\n"
      "  y = call(x) body=1\n"
      "  return i, y\n"
      "}\n");
}

TEST(NetworkText, OddNames) {
  expect_exact(
      "\"return\" = input f32[2]\n"
      "\"a \\\"b\\\" # c\" = input f32[2]\n"
      "layers.0/relu:0 = input f32[2]\n"
      "y = add(\"return\", \"a \\\"b\\\" # c\")  # a\\(b\\) (aten::add, my\\, file.py:1)\n"
      "return y, layers.0/relu:0\n");
}

TEST(NetworkText, LayoutsAndData) {
  expect_exact(
      "x = input bf16[n,3,h,w]@/v4\n"
      "q = input i8[2,3,4,5,6,7,8,9,10,11,12]@0.10.9.8.7.6.5.4.3.2.1\n"
      "b = literal bool[2] [1, 0]\n"
      "y@0231/p8 = relu(x)\n"
      "return y, q\n");
}

TEST(NetworkText, DataOfEveryKind) {
  const char* const text =
      "a = literal f32[2,2] [0.1, -0, inf, 1e-45]\n"
      "b = literal f16[3] [0.1, 65504, -inf]\n"
      "n = literal f32[] hex:0100c07f\n"
      "w = param f32[2] \"w\" [1.5, 2]\n"
      "d = literal f64[] 0.1\n"
      "e = literal f32[0] []\n"
      "return a, b, n, w, d, e\n";
  const Network network = parse_network(text);
  validate(network);
  const Network again = parse_network(str(network, {.with_data = true}));
  ASSERT_EQ(again.constants.size(), network.constants.size());
  for (size_t k = 0; k < network.constants.size(); ++k) EXPECT_EQ(*again.constants[k].data, *network.constants[k].data);
  EXPECT_TRUE(again == network);
  EXPECT_FALSE(parse_network(str(network)).constants[3].data);  // params go without
  EXPECT_TRUE(parse_network(str(network)) == network);
  EXPECT_NEAR(network.constant_values(network.main().outputs[1])[0], 0.1, 1e-4);
}

TEST(NetworkText, LargeLiteralsAreHex) {
  Network network;
  auto data = std::make_shared<std::vector<std::byte>>(100);
  for (size_t k = 0; k < 100; ++k) (*data)[k] = static_cast<std::byte>(3 * k);
  network.mark_output(network.add_constant(DType::U8, {100}, {"table", false, data}));
  EXPECT_EQ(str(network), "table = literal u8[100]\nreturn table\n");
  EXPECT_EQ(*parse_network(str(network, {.with_data = true})).constants[0].data, *data);
}

TEST(NetworkText, GeneralPrograms) {
  Network network;
  const TensorId x = network.add_input({DType::F16, parse_shape("[n,8]"), {}}, "x");
  Program program;
  program.inputs = {DType::F32};
  const int a = program.add(Fn::exp, {0});
  program.outputs = {static_cast<int16_t>(program.add(Fn::mul, {a, 0})), static_cast<int16_t>(a)};
  const std::vector<TensorId> out = network.add(Pointwise{program, {DType::F16, DType::F32}}, {x});
  const TensorId same = network.add1(Pointwise{}, {x});
  Norm norm{.kind = NormKind::rms, .has_weight = true, .type = DType::F16};
  norm.epilogue = single(Fn::silu, {DType::F32});
  const TensorId weight = network.add_constant(DType::F16, {8}, {"w", true, nullptr});
  for (TensorId id : {out[0], out[1], same, network.add1(norm, {x, weight})}) network.mark_output(id);
  validate(network);
  EXPECT_TRUE(parse_network(str(network)) == network) << str(network);
  EXPECT_EQ(parse_network(str(network)).main().layers[0].op, network.main().layers[0].op);
  EXPECT_EQ(parse_network(str(network)).main().layers[2].op, network.main().layers[2].op);
}

TEST(NetworkText, HostCallKeepsItsJson) {
  Network network;
  const TensorId x = network.add_input({DType::F32, parse_shape("[n,4]"), {}}, "x");
  const HostCall call{.op = "torchvision::nms", .args = R"([{"tensor": 0}, {"str": "a \"b\" # (c"}])", .types = {DType::I64}, .shapes = {parse_shape("[u0]")}};
  network.mark_output(network.add1(call, {x}, {{"head", "torchvision::nms", "nms", "m.py:3"}}));
  const Network again = parse_network(str(network));
  EXPECT_TRUE(again == network) << str(network);
  EXPECT_EQ(again.main().layers[0].op, network.main().layers[0].op);
  EXPECT_EQ(again.main().layers[0].origins, network.main().layers[0].origins);
}

TEST(NetworkText, NestedCallsAndStructure) {
  const Network nested = parse_network("# a comment\nx = input f32[n,4]   # another\nw = param f32[4,4] \"w\"\nreturn relu(matmul(x, w)), x\n");
  const Network flat = parse_network("x = input f32[n,4]\nw = param f32[4,4] \"w\"\nrelu = matmul(x, w)\ny = relu(relu)\nreturn y, x\n");
  validate(nested);
  EXPECT_FALSE(nested == flat);
  const TextOptions structure{.names = false, .origins = false};
  EXPECT_EQ(str(nested, structure), str(flat, structure));
  EXPECT_EQ(str(parse_network(str(flat, structure)), structure), str(flat, structure));
}

TEST(NetworkText, Errors) {
  EXPECT_NE(parse_error("x = input f32[4]\ny = frobnicate(x)\nreturn y\n").find("error: line 2: in network text: 'frobnicate' is neither an op nor a function"),
            std::string::npos);
  EXPECT_NE(parse_error("x = input f32[4]\n\nreturn y\n").find("error: line 3: in network text: 'y' is not defined"), std::string::npos);
  EXPECT_NE(parse_error("x = input f33[4]\nreturn x\n").find("error: line 1: in network text: 'f33' is no dtype"), std::string::npos);
  EXPECT_NE(parse_error("x = input f32[4]\nx = relu(x)\nreturn x\n").find("error: line 2: in network text: 'x' is defined twice"), std::string::npos);
  EXPECT_NE(parse_error("x = input f32[4]\n").find("body 0 has no 'return'"), std::string::npos);
  EXPECT_NE(parse_error("x = input f32[4]\na, b = relu(x)\nreturn x\n").find("the layer has 1 outputs, not 2"), std::string::npos);
  EXPECT_NE(parse_error("y = call() body=1\nreturn y\nbody 1 {\n y = call() body=1\n return y\n}\n").find("body 1 contains itself"), std::string::npos);
  EXPECT_NE(parse_error("c = literal f32[2] [1]\nreturn c\n").find("error: line 1: in network text: the constant needs 2 values, got 1"), std::string::npos);
  EXPECT_NE(parse_error("x = input f32[4]\ny = cast(x)\nreturn y\n").find("cast needs type=<dtype>"), std::string::npos);
  EXPECT_NE(parse_error("x = input f32[4]\ny = relu(x\nreturn y\n").find("error: line 2: in network text: '(' is not closed"), std::string::npos);
  EXPECT_NE(parse_error("x = input f32[2,3]\ny = softmax(x) axis=4\nreturn y\n")
                .find("error: softmax 'softmax': line 2: in network text: axis 4 out of range for rank 2"),
            std::string::npos);
}

}  // namespace
}  // namespace tuyere
