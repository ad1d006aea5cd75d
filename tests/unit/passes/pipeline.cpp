// SPDX-License-Identifier: Apache-2.0
// Whole pipelines: what small models become.
#include <algorithm>

#include "common/error.h"
#include "tests/unit/passes/pass_test.h"

namespace tuyere {
namespace {

Network optimized(const std::string& text, const PassContext& context, const PassOptions& options = {}) {
  Network net = parse_network(text);
  run_passes(net, context, options);
  validate(net, Phase::laid_out);
  return net;
}

template <class S>
int count(const Network& net) {
  const auto& layers = net.main().layers;
  const std::vector<bool> constant = [&] {
    std::vector<bool> known(net.main().tensors.size(), false);
    for (size_t k = 0; k < known.size(); ++k) known[k] = net.main().tensors[k].constant >= 0;
    for (const Layer& layer : layers)
      known[layer.outputs[0]] = !layer.inputs.empty() && std::all_of(layer.inputs.begin(), layer.inputs.end(), [&](TensorId id) { return known[id]; });
    return known;
  }();
  return static_cast<int>(
      std::count_if(layers.begin(), layers.end(), [&](const Layer& layer) { return std::holds_alternative<S>(layer.op) && !constant[layer.outputs[0]]; }));
}

const char* const kResidualBlock =
    "x = input f32[n,8,16,16]\nw = param f32[8,8,3,3]\ns = param f32[8,1,1]\nb = param f32[8,1,1]\n"
    "a = conv(x, w) pad_before=[1,1] pad_after=[1,1]\nm = mul(a, s)\nc = add(m, b)\nd = add(c, x)\ny = relu(d)\np = reduce(y) kind=mean axes=[2,3]\nreturn p\n";

TEST(Pipeline, AResidualBlockIsOneConvolution) {
  const Network net = optimized(kResidualBlock, on_cuda());
  EXPECT_EQ(count<Conv>(net), 1);
  EXPECT_EQ(count<Pointwise>(net), 1) << str(net);  // x to channels-last
}

TEST(Pipeline, HalfPrecisionFusesItsCasts) {
  PassContext context = on_cuda();
  context.precision = "fp16";
  const Network net = optimized(kResidualBlock, context);
  EXPECT_EQ(count<Pointwise>(net), 1) << str(net);  // one copy that casts and orders
  EXPECT_EQ(str(net.type(net.main().outputs[0])), "f32[n,8]");
}

TEST(Pipeline, PassesCanBeDisabledByName) {
  EXPECT_EQ(count<Pointwise>(optimized(kResidualBlock, on_cuda(), {{"layout"}, true})), 0);
  EXPECT_THROW(optimized(kResidualBlock, on_cuda(), {{"lay_out"}, true}), Error);
}

TEST(Pipeline, ABertLayer) {
  const std::string text =
      "x = input f32[n,s,64]\nm = input f32[n,1,1,s]\nwq = param f32[64,64]\nwk = param f32[64,64]\nwv = param f32[64,64]\nwo = param f32[64,64]\nbq = param "
      "f32[64]\nbk = param f32[64]\n"
      "bv = param f32[64]\nbo = param f32[64]\ng = param f32[64]\nh = param f32[64]\nc = literal f32[] 4\n"
      "q = matmul(x, wq, bq) trans_b=true epilogue={add(i0:f32, i1:f32)}\nk = matmul(x, wk, bk) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
      "v = matmul(x, wv, bv) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
      "q4 = reshape(q) shape=[n,s,4,16]\nqh = permute(q4) perm=[0,2,1,3]\nk4 = reshape(k) shape=[n,s,4,16]\nkh = permute(k4) perm=[0,2,1,3]\nkt = permute(kh) "
      "perm=[0,1,3,2]\n"
      "v4 = reshape(v) shape=[n,s,4,16]\nvh = permute(v4) perm=[0,2,1,3]\np = matmul(qh, kt)\nd = div(p, c)\ne = add(d, m)\nw = softmax(e) axis=3\na = "
      "matmul(w, vh)\n"
      "t = permute(a) perm=[0,2,1,3]\nf = reshape(t) shape=[n,s,64]\no = matmul(f, wo, bo) trans_b=true epilogue={add(i0:f32, i1:f32)}\nr = add(o, x)\n"
      "y = norm(r, g, h) has_weight=true has_bias=true\nreturn y\n";
  for (const char* precision : {"as_is", "fp16", "bf16"}) {
    PassContext context = on_cuda();
    context.precision = precision;
    const Network net = optimized(text, context);
    EXPECT_EQ(count<MatMul>(net), 2) << str(net);
    EXPECT_EQ(count<Attention>(net), 1);
    EXPECT_EQ(count<Softmax>(net), 0);
    EXPECT_EQ(count<Norm>(net), 1);
    EXPECT_LE(count<Pointwise>(net), std::string(precision) == "as_is" ? 0 : 2) << str(net);
  }
}

}  // namespace
}  // namespace tuyere
