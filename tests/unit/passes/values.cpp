// SPDX-License-Identifier: Apache-2.0
// What passes make of a network computes the same values: engines for the CPU with and without them.
#include "core/passes/passes.h"
#include "tests/unit/builder/build_util.h"

namespace tuyere::testing {
namespace {

/// Runs the network built with all passes, and with none, on inputs of these sizes of "n".
void expect_same_values(const std::string& text, const std::string& precision = "as_is", double tolerance = 2e-5) {
  BuilderConfig with = untimed(), without = untimed();
  with.precision = precision;
  for (const Pass& pass : pipeline()) without.disabled_passes.emplace_back(pass.name);
  const Network network = network_of(text);
  const auto optimized = load(build(network, with).bytes), plain = load(build(network, without).bytes);
  ASSERT_TRUE(optimized && plain);
  for (int64_t n : {1, 3}) {
    Symbols sizes;
    sizes.set("n", n);
    std::vector<HostTensor> inputs;
    for (TensorId id : network.main().inputs) inputs.push_back(random_tensor(eval(network.type(id).shape, sizes), static_cast<unsigned>(id) + 1));
    const std::vector<HostTensor> got = run(*optimized, inputs), want = run(*plain, inputs);
    ASSERT_EQ(got.size(), want.size());
    for (size_t k = 0; k < got.size(); ++k) expect_near(got[k], want[k], tolerance);
  }
}

PassContext gpu() {
  PassContext context;
  context.target.kind = Target::Kind::Cuda;
  context.target.sm = 90;
  return context;
}

/// A pass on its own: engines for the CPU of the network before and after it.
void expect_keeps_values(PassFn pass, const std::string& text, double tolerance, const PassContext& context = gpu()) {
  BuilderConfig plain = untimed();
  for (const Pass& each : pipeline()) plain.disabled_passes.emplace_back(each.name);
  const Network before = network_of(text);
  Network after = before;
  ASSERT_TRUE(pass(after, context));
  after.compact();
  const auto want = load(build(before, plain).bytes), got = load(build(after, plain).bytes);
  ASSERT_TRUE(want && got);
  std::vector<HostTensor> inputs;
  for (TensorId id : before.main().inputs) {
    Symbols two;
    two.set("n", 2);
    inputs.push_back(random_tensor(eval(before.type(id).shape, two), static_cast<unsigned>(id) + 1));
  }
  const std::vector<HostTensor> wanted = run(*want, inputs), results = run(*got, inputs);
  ASSERT_EQ(results.size(), wanted.size());
  for (size_t k = 0; k < results.size(); ++k) expect_near(results[k], wanted[k], tolerance);
}

const std::string kConvolutions =
    "x = input f32[n,3,17,16]\nw = param f32[8,3,3,3]\nd = param f32[8,1,3,3]\nu = param f32[8,8,1,1]\ns = param f32[8,1,1]\nb = param f32[8,1,1]\nf = param "
    "f32[5,8]\n"
    "a = conv(x, w) stride=[2,2] pad_before=[1,1] pad_after=[1,1]\nm = mul(a, s)\nc = add(m, b)\nr = relu(c)\ne = conv(r, d) groups=8 pad_before=[1,1] "
    "pad_after=[1,1]\n"
    "g = sigmoid(e)\nh = mul(e, g)\ni = conv(h, u)\nj = add(i, r)\nk = concat(j, r) axis=1\np = pool(k) kernel=[3,3] stride=[2,2] pad=[1,1]\n"
    "q = slice(p) axis=1 start=4 end=12\nt = conv(q, u)\nz = resize(t) size=[9,8]\nl = reduce(t) kind=mean axes=[2,3]\no = matmul(l, f) trans_b=true\nreturn "
    "o, z, k\n";

const std::string kConvNext =
    "x = input f32[n,8,6,5]\nw = param f32[8,1,7,7]\nb = param f32[8,1,1]\ng = param f32[8]\nh = param f32[8]\nu = param f32[32,8]\nv = param f32[8,32]\nc = "
    "param f32[8]\ns = param f32[8,1,1]\n"
    "a = conv(x, w, b) groups=8 pad_before=[3,3] pad_after=[3,3] epilogue={add(i0:f32, i1:f32)}\np = permute(a) perm=[0,2,3,1]\nl = norm(p, g, h) "
    "has_weight=true has_bias=true\n"
    "m = matmul(l, u) trans_b=true\ne = gelu_erf(m)\nf = matmul(e, v, c) trans_b=true epilogue={add(i0:f32, i1:f32)}\nq = permute(f) perm=[0,3,1,2]\nk = "
    "mul(q, s)\ny = add(k, x)\n"
    "z = conv(y, w) groups=8 pad_before=[3,3] pad_after=[3,3]\nreturn y, z\n";

const std::string kAttention =
    "x = input f32[n,7,64]\nm = input f32[n,1,1,7]\nwq = param f32[64,64]\nwk = param f32[64,64]\nwv = param f32[64,64]\nwo = param f32[64,64]\nbq = param "
    "f32[64]\nbk = param f32[64]\n"
    "bv = param f32[64]\ng = param f32[64]\nc = literal f32[] 4\nh = literal f32[] 0.5\nj = literal f32[] 0.044715\ni = literal f32[] 0.7978845608\no1 = "
    "literal f32[] 1\neps = literal f32[] 1e-5\n"
    "sq = square(x)\nmn = reduce(sq) kind=mean axes=[2] keepdim=true\nad = add(mn, eps)\nrs = rsqrt(ad)\nnx = mul(x, rs)\nxx = mul(g, nx)\n"
    "q = matmul(xx, wq, bq) trans_b=true epilogue={add(i0:f32, i1:f32)}\nk = matmul(xx, wk, bk) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
    "v = matmul(xx, wv, bv) trans_b=true epilogue={add(i0:f32, i1:f32)}\n"
    "q4 = reshape(q) shape=[n,7,4,16]\nqh = permute(q4) perm=[0,2,1,3]\nk4 = reshape(k) shape=[n,7,4,16]\nkh = permute(k4) perm=[0,2,1,3]\nkt = permute(kh) "
    "perm=[0,1,3,2]\n"
    "v4 = reshape(v) shape=[n,7,4,16]\nvh = permute(v4) perm=[0,2,1,3]\np = matmul(qh, kt)\nd = div(p, c)\ne = add(d, m)\nw = softmax(e) axis=3\na = matmul(w, "
    "vh)\n"
    "t = permute(a) perm=[0,2,1,3]\nf = reshape(t) shape=[7*n,64]\no = matmul(f, wo)\nu = reshape(o) shape=[n,7,64]\nr = add(u, x)\n"
    "z2 = square(r)\nz3 = mul(z2, r)\nz4 = mul(z3, j)\nz5 = add(r, z4)\nz6 = mul(z5, i)\nz7 = tanh(z6)\nz8 = add(z7, o1)\nhr = mul(r, h)\ny = mul(hr, "
    "z8)\nreturn y\n";

const std::string kWindows =
    "q = input f32[4*n,3,9,8]\nk = input f32[4*n,3,9,8]\nv = input f32[4*n,3,9,8]\nbias = param f32[1,3,9,9]\nm = param f32[1,4,1,9,9]\nc = literal f32[] "
    "0.35\n"
    "qs = mul(q, c)\np = matmul(qs, k) trans_b=true\na = add(p, bias)\nw5 = reshape(a) shape=[n,4,3,9,9]\nb = add(w5, m)\nw4 = reshape(b) shape=[4*n,3,9,9]\n"
    "w = softmax(w4) axis=3\no = matmul(w, v)\nt = permute(o) perm=[0,2,1,3]\ny = reshape(t) shape=[4*n,9,24]\nreturn y\n";

TEST(Values, Convolutions) { expect_same_values(kConvolutions); }
TEST(Values, ConvNext) { expect_same_values(kConvNext); }
TEST(Values, Attention) { expect_same_values(kAttention, "as_is", 1e-4); }
TEST(Values, Windows) { expect_same_values(kWindows); }

TEST(Values, HalfPrecision) {
  for (const char* precision : {"fp16", "bf16"}) {
    const double unit = std::string(precision) == "fp16" ? 0.03 : 0.25;
    expect_same_values(kConvolutions, precision, unit);
    expect_same_values(kConvNext, precision, unit);
    expect_same_values(kAttention, precision, unit);
    expect_same_values(kWindows, precision, unit);
  }
}

TEST(Values, BlocksOfPixels) {
  // Kernel, strides, paddings before and after; rows and columns of the image.
  struct Case {
    const char *kernel, *attributes, *size;
  };
  for (const Case& c :
       {Case{"7,7", "stride=[2,2] pad_before=[3,3] pad_after=[3,3]", "20,18"}, Case{"3,3", "stride=[2,2] pad_before=[1,1] pad_after=[1,1]", "8,10"},
        Case{"3,3", "stride=[2,2] pad_before=[0,0] pad_after=[1,1]", "8,8"}, Case{"4,4", "stride=[2,4] pad_before=[1,0] pad_after=[0,0]", "10,12"},
        Case{"4,4", "stride=[4,4] pad_before=[0,0] pad_after=[0,0]", "8,14"}, Case{"7,7", "stride=[4,4] pad_before=[3,3] pad_after=[3,3]", "16,20"},
        Case{"5,5", "stride=[2,2] pad_before=[0,0] pad_after=[0,0]", "12,10"}}) {
    SCOPED_TRACE(std::string(c.kernel) + " " + c.attributes + " of " + c.size);
    expect_keeps_values(space_to_depth,
                        "x = input f32[n,3," + std::string(c.size) + "]\nw = param f16[16,3," + c.kernel +
                            "]\nh = pointwise(x) program={i0:f32} types=[f16]\ny = conv(h, w) " + c.attributes + " dilation=[1,1] type=f32\nreturn y\n",
                        1e-4);
  }
}

TEST(Values, GatesInWeights) {
  expect_keeps_values(
      conv_matmuls,
      "x = input f32[n,4,6,5]\nd = param f32[4,1,3,3]\nu = param f32[2,4,1,1]\nv = param f32[4,2,1,1]\nw = param f32[8,4,1,1]\nb = param f32[8,1,1]\n"
      "r = input f32[n,8,6,5]\na = conv(x, d) groups=4 pad_before=[1,1] pad_after=[1,1]\nm = reduce(a) kind=mean axes=[2,3] keepdim=true\n"
      "e = conv(m, u) epilogue={relu(i0:f32)}\nf = conv(e, v)\ng = pointwise(f, a) program={mul(i1:f32, sigmoid(i0:f32))} types=[f32]\n"
      "y = conv(g, w, b, r) epilogue={add(add(i0:f32, i1:f32), i2:f32)}\nreturn y\n",
      1e-5);
}

TEST(Values, Expansions) {
  const std::string images = "x = input f32[n,1,60,56,16]\nw = param f32[4,16,1,1,16]\na = param f32[1,4,1,1,16]\nv = param f32[4,1,5,5,16]\n";
  expect_keeps_values(fuse_expansions,
                      images +
                          "b = param f32[1,4,1,1,16]\nh = conv(x, w, a) stride=[1,1] pad_before=[0,0] pad_after=[0,0] dilation=[1,1] "
                          "epilogue={silu(add(i0:f32, i1:f32))}\ny = conv(h, v, b) stride=[2,2] pad_before=[2,2] pad_after=[2,2] dilation=[1,1] groups=64 "
                          "epilogue={hardswish(add(i0:f32, i1:f32))}\nreturn y\n",
                      1e-4, {});
}

TEST(Values, ProductsOverHeads) {
  const std::string scores = "x = input f32[n,4,7,8]\ny = input f32[n,4,8,5]\nw = param f32[6,4]\nc = param f32[6]\na = matmul(x, y)\n";
  expect_keeps_values(move_views,
                      scores +
                          "s = softmax(a) axis=3\nl = permute(s) perm=[0,2,3,1]\n"
                          "m = matmul(l, w, c) trans_b=true epilogue={relu(add(i0:f32, i1:f32))}\nr = permute(m) perm=[0,3,1,2]\nreturn r\n",
                      1e-6, PassContext());
  expect_keeps_values(move_views, scores + "v = param f32[4,3]\nl = permute(a) perm=[0,2,3,1]\nm = matmul(l, v)\nreturn m\n", 1e-6, PassContext());
}

TEST(Values, JointSiblings) {
  expect_keeps_values(
      join_siblings,
      "x = input f32[n,5,48]\nc = param f32[1,1,5,4]\nq = slice(x) axis=2 start=0 end=24\nk = slice(x) axis=2 start=24 end=32\n"
      "q4 = reshape(q) shape=[n,5,3,8]\nk4 = reshape(k) shape=[n,5,1,8]\nqh = permute(q4) perm=[0,2,1,3]\nkh = permute(k4) perm=[0,2,1,3]\n"
      "q0 = slice(qh) axis=3 start=0 end=4\nq1 = slice(qh) axis=3 start=4 end=8\nk0 = slice(kh) axis=3 start=0 end=4\nk1 = slice(kh) axis=3 start=4 "
      "end=8\nqa, qb = pointwise(q0, q1, c) program={i0:f32, i1:f32, i2:f32 -> v3 = mul(i0, i2); v4 = sub(v3, i1); v5 = add(v3, i1); v4, v5} "
      "types=[f32,f32]\nka, kb = pointwise(k0, k1, c) program={i0:f32, i1:f32, i2:f32 -> v3 = mul(i0, i2); v4 = sub(v3, i1); v5 = add(v3, i1); v4, v5} "
      "types=[f32,f32]\nqr = concat(qa, qb) axis=3\nkr = concat(ka, kb) axis=3\ns = mul(qr, kr)\nreturn s\n",
      1e-6);
}

}  // namespace
}  // namespace tuyere::testing
