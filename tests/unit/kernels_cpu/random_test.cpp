// SPDX-License-Identifier: Apache-2.0
// Random shapes, strides and types of every family with fast kernels, against the references. The seed of a failure is in its trace.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <random>

#include "tests/unit/kernels_cpu/harness.h"

namespace tuyere::testing_cpu {
namespace {

using Sizes = std::vector<int64_t>;

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  int64_t number(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random_); }
  bool coin() { return number(0, 1) == 1; }
  template <class T>
  T pick(const std::vector<T>& from) {
    return from[static_cast<size_t>(number(0, static_cast<int64_t>(from.size()) - 1))];
  }
  std::string real() { return pick<std::string>({"f32", "f32", "bf16", "f16"}); }
  /// Sizes around vector lengths and tiles; rarely 0 when `empty`.
  int64_t size(bool empty = false) {
    if (empty && number(0, 15) == 0) return 0;
    return pick<int64_t>({1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 50, 64, 67});
  }
  Sizes sizes(int rank, bool empty = false) {
    Sizes s;
    for (int d = 0; d < rank; ++d) s.push_back(size(empty));
    while (std::accumulate(s.begin(), s.end(), int64_t{1}, std::multiplies<>()) > 20000) *std::max_element(s.begin(), s.end()) /= 2;
    return s;
  }
  /// "f32[...]" dense, with permuted memory, or with gaps.
  std::string tensor(const std::string& type, const Sizes& shape) {
    if (shape.empty()) return type + "[]";
    std::vector<size_t> order(shape.size());
    std::iota(order.begin(), order.end(), size_t{0});
    const int64_t kind = number(0, 3);
    if (kind == 1) std::shuffle(order.begin(), order.end(), random_);
    if (kind == 2 && shape.size() > 2) std::rotate(order.begin() + 1, order.begin() + 2, order.end());
    Sizes strides(shape.size());
    int64_t step = kind == 3 ? number(1, 2) : 1;
    for (size_t i = order.size(); i-- > 0;) {
      strides[order[i]] = step;
      step *= std::max<int64_t>(1, shape[order[i]]);
      if (kind == 3) step += number(0, 3);
    }
    return type + list(shape) + "{" + list(strides).substr(1, list(strides).size() - 2) + "}";
  }
  static std::string list(const Sizes& s) {
    std::string text = "[";
    for (size_t i = 0; i < s.size(); ++i) text += (i ? "," : "") + std::to_string(s[i]);
    return text + "]";
  }

 private:
  std::mt19937 random_;
};

struct Generated {
  std::string text;
  RunOptions options;
};

Generated softmax(Draw& d) {
  const Sizes s = d.sizes(static_cast<int>(d.number(1, 4)), true);
  const std::string type = d.real(), axis = std::to_string(d.number(0, static_cast<int64_t>(s.size()) - 1));
  const std::string prologue = d.coin() ? " prologue={mul(i0:f32, i0)}" : "";
  return {"softmax axis=" + axis + (d.coin() ? " log=true" : "") + " type=" + type + prologue + " | " + d.tensor(type, s) + " -> " + d.tensor(type, s), {}};
}

Generated norm(Draw& d) {
  const bool group = d.coin();
  Sizes s = d.sizes(group ? static_cast<int>(d.number(2, 4)) : static_cast<int>(d.number(1, 3)));
  const std::string type = d.real();
  std::string text = "norm ";
  Sizes weight;
  if (group) {
    const int64_t groups = d.pick<int64_t>({1, 2, 4});
    s[1] *= groups;
    text += "kind=group groups=" + std::to_string(groups);
    weight = {s[1]};
  } else {
    const int64_t axes = d.number(1, static_cast<int64_t>(s.size()));
    text += std::string("kind=") + (d.coin() ? "layer" : "rms") + " axes=" + std::to_string(axes);
    weight.assign(s.end() - axes, s.end());
  }
  const bool has_weight = d.coin(), has_bias = d.coin(), sum = d.coin(), after = d.coin();
  text += std::string(" eps=0.1") + (has_weight ? " has_weight=true" : "") + (has_bias ? " has_bias=true" : "") + " type=" + type;
  if (sum) text += " extra_types=[" + type + "] prologue={i0:f32, i1:f32 -> v2 = add(i0, i1); v2, v2}";
  if (after) text += " epilogue={add(silu(i0:f32), i1:f32)}";
  text += " | " + d.tensor(type, s) + (sum ? ", " + d.tensor(type, s) : "");
  if (has_weight) text += ", " + type + Draw::list(weight);
  if (has_bias) text += ", f32" + Draw::list(weight);
  if (after) text += ", " + d.tensor(type, s);
  return {text + " -> " + d.tensor(type, s) + (sum ? ", " + d.tensor(type, s) : ""), {}};
}

Generated reduce(Draw& d) {
  const int rank = static_cast<int>(d.number(1, 4));
  const Sizes s = d.sizes(rank);
  const std::string type = d.real();
  Sizes axes, out;
  for (int k = 0; k < rank; ++k) {
    if (d.coin()) {
      axes.push_back(k);
    } else {
      out.push_back(s[static_cast<size_t>(k)]);
    }
  }
  const std::string kind = d.pick<std::string>({"sum", "mean", "max", "min", "var"});
  const std::string prologue = d.number(0, 2) == 0 ? " prologue={abs(i0:f32)}" : "";
  RunOptions options;
  options.tolerance = kind == "sum" ? 1e-4 : 0;
  return {"reduce kind=" + kind + " axes=" + Draw::list(axes) + " type=" + type + prologue + " | " + d.tensor(type, s) + " -> " + d.tensor(type, out), options};
}

Generated arg_reduce(Draw& d) {
  Sizes s = d.sizes(static_cast<int>(d.number(1, 4)));
  const auto axis = static_cast<size_t>(d.number(0, static_cast<int64_t>(s.size()) - 1));
  const std::string type = d.pick<std::string>({"f32", "bf16", "i32", "i64"}), x = d.tensor(type, s);
  s.erase(s.begin() + static_cast<int64_t>(axis));
  return {"arg_reduce kind=" + d.pick<std::string>({"argmax", "argmin"}) + " axis=" + std::to_string(axis) + " | " + x + " -> " + d.tensor("i64", s), {}};
}

Generated cumulate(Draw& d) {
  const Sizes s = d.sizes(static_cast<int>(d.number(1, 3)), true);
  const std::string type = d.pick<std::string>({"f32", "f64", "bf16", "i64", "i32"}), axis = std::to_string(d.number(0, static_cast<int64_t>(s.size()) - 1));
  const std::string kind = type[0] == 'i' ? "sum" : d.pick<std::string>({"sum", "prod"});
  return {"cumulate kind=" + kind + " axis=" + axis + " type=" + type + " | " + d.tensor(type, s) + " -> " + d.tensor(type, s), {}};
}

Generated sorted(Draw& d) {
  Sizes s = d.sizes(static_cast<int>(d.number(1, 3)));
  const auto axis = static_cast<size_t>(d.number(0, static_cast<int64_t>(s.size()) - 1));
  if (d.coin()) s[axis] = d.pick<int64_t>({300, 700});
  const std::string type = d.pick<std::string>({"f32", "bf16", "i32", "i64", "u8"}), x = d.tensor(type, s);
  std::string text = "axis=" + std::to_string(axis);
  if (d.coin()) {
    text = "sort " + text + (d.coin() ? " descending=true" : "");
  } else {
    s[axis] = d.number(1, s[axis]);
    text = "topk k=" + std::to_string(s[axis]) + " " + text + (d.coin() ? " largest=false" : "");
  }
  return {text + " | " + x + " -> " + d.tensor(type, s) + ", " + d.tensor("i64", s), {type == "u8" ? 0 : -50, 50, 0}};
}

RunOptions indices(int64_t size, double tolerance = 0) { return {static_cast<int>(-size), static_cast<int>(size) - 1, tolerance}; }

Generated gather(Draw& d) {
  const Sizes s = d.sizes(static_cast<int>(d.number(1, 3)));
  const auto axis = static_cast<size_t>(d.number(0, static_cast<int64_t>(s.size()) - 1));
  const Sizes index = d.sizes(static_cast<int>(d.number(0, 2)), true);
  Sizes out(s.begin(), s.begin() + static_cast<int64_t>(axis));
  out.insert(out.end(), index.begin(), index.end());
  out.insert(out.end(), s.begin() + static_cast<int64_t>(axis) + 1, s.end());
  const std::string type = d.real();
  return {"gather axis=" + std::to_string(axis) + " | " + d.tensor(type, s) + ", " + d.tensor(d.coin() ? "i64" : "i32", index) + " -> " + d.tensor(type, out),
          indices(s[axis])};
}

Generated index(Draw& d) {
  const int64_t size = d.size();
  const int count = static_cast<int>(d.number(1, 2));
  Sizes s, axes, out;
  for (int64_t k = d.number(0, 1); k > 0; --k) s.push_back(d.pick<int64_t>({2, 3}));
  out = s;
  for (int k = 0; k < count; ++k) axes.push_back(static_cast<int64_t>(s.size())), s.push_back(size);
  const Sizes shape{d.size(), 3};
  out.insert(out.end(), shape.begin(), shape.end());
  for (int64_t k = d.number(0, 2); k > 0; --k) s.push_back(d.pick<int64_t>({2, 5})), out.push_back(s.back());
  const bool put = d.coin(), accumulate = d.coin();
  const std::string type = d.pick<std::string>({"f32", "f64", "i32", "bf16"});
  std::string text = put ? std::string("index_put") + (accumulate ? " accumulate=true" : "") : "index";
  // Without accumulation the last of several writes to one place wins, in both kernels.
  text += " axes=" + Draw::list(axes) + " | " + d.tensor(type, s);
  if (put) text += ", " + d.tensor(type, out);
  text += ", " + d.tensor("i64", shape);
  if (count > 1) text += ", i64[3]";
  return {text + " -> " + d.tensor(type, put ? s : out), indices(size, put && accumulate ? 1e-3 : 0)};
}

Generated elements(Draw& d) {
  const Sizes s = d.sizes(static_cast<int>(d.number(1, 3)));
  const auto axis = static_cast<size_t>(d.number(0, static_cast<int64_t>(s.size()) - 1));
  Sizes index = s;
  for (int64_t& n : index) n = d.number(1, n);
  index[axis] = d.size();
  const std::string type = d.pick<std::string>({"f32", "f64", "i32", "i64", "bf16"}), i = d.tensor(d.coin() ? "i64" : "i32", index);
  if (d.coin())
    return {"gather_elements axis=" + std::to_string(axis) + " | " + d.tensor(type, s) + ", " + i + " -> " + d.tensor(type, index), indices(s[axis])};
  // Products of integers are left out: the reference multiplies in double and does not wrap.
  const std::string kind = type[0] == 'i' ? d.pick<std::string>({"set", "add", "max", "min"}) : d.pick<std::string>({"set", "add", "mul", "max", "min"}),
                    src = d.coin() ? d.tensor(type, index) : type + "[]";
  return {"scatter_elements axis=" + std::to_string(axis) + " kind=" + kind + " | " + d.tensor(type, s) + ", " + i + ", " + src + " -> " + d.tensor(type, s),
          indices(s[axis], 1e-4)};
}

Generated pool(Draw& d) {
  const int spatial = static_cast<int>(d.number(1, 3));
  Sizes s{d.number(1, 2), d.pick<int64_t>({1, 3, 8, 17}), 0, 0, 0}, out, kernel, stride, pad, dilation;
  s.resize(static_cast<size_t>(2 + spatial));
  const std::string kind = d.pick<std::string>({"max", "avg"}), type = d.real();
  const bool adaptive = d.coin();
  out = {s[0], s[1]};
  for (int k = 0; k < spatial; ++k) {
    const int64_t size = s[static_cast<size_t>(2 + k)] = d.number(5, spatial == 3 ? 8 : 20);
    kernel.push_back(d.number(1, 3));
    stride.push_back(d.number(1, 3));
    pad.push_back(d.number(0, kernel.back() / 2));
    dilation.push_back(kind == "max" ? d.number(1, 2) : 1);
    out.push_back(adaptive ? d.number(1, 7) : (size + 2 * pad.back() - dilation.back() * (kernel.back() - 1) - 1) / stride.back() + 1);
  }
  std::string text = adaptive ? "adaptive_pool kind=" + kind + " out=" + Draw::list({out.begin() + 2, out.end()})
                              : "pool kind=" + kind + " kernel=" + Draw::list(kernel) + " stride=" + Draw::list(stride) + " pad=" + Draw::list(pad) +
                                    " dilation=" + Draw::list(dilation) + (d.coin() ? " count_include_pad=false" : "");
  return {text + " | " + d.tensor(type, s) + " -> " + d.tensor(type, out), {}};
}

/// Plain or in blocks, grouped, depthwise, dilated, strided.
Generated conv(Draw& d) {
  const int spatial = static_cast<int>(d.number(1, 3));
  const int64_t kind = d.number(0, 3), block = d.pick<int64_t>({0, 8, 16});
  const bool blocks = block > 0 && kind < 3, narrow = blocks && kind == 0;
  const int64_t step = blocks ? block : 1, groups = kind == 1 ? d.pick<int64_t>({2, 3}) : 1;
  int64_t channels = narrow ? d.number(1, 5) : d.pick<int64_t>({1, 3, 20, 50}) * groups, rows = d.pick<int64_t>({1, 3, 20, 50}) * groups;
  if (blocks) rows = (rows + step * groups - 1) / (step * groups) * step * groups;
  if (blocks && !narrow) channels = (channels + step * groups - 1) / (step * groups) * step * groups;
  if (kind == 2) channels = rows;
  const int64_t count = kind == 2 ? rows : groups, inputs = channels / count;
  Sizes x{d.number(1, 2)}, w, out{x[0]}, stride, before, after, dilation;
  if (blocks && !narrow) {
    x.push_back(channels / block);
  } else {
    x.push_back(channels);
  }
  w = {rows / step, inputs};
  out.push_back(rows / step);
  for (int k = 0; k < spatial; ++k) {
    const int64_t kernel = d.number(1, 3);
    stride.push_back(d.number(1, 2));
    dilation.push_back(d.number(1, 2));
    before.push_back(d.number(kind == 3 ? -1 : 0, 2));
    after.push_back(d.number(0, 2));
    x.push_back(d.number(6, spatial == 1 ? 300 : spatial == 2 ? 19 : 7));
    w.push_back(kernel);
    out.push_back((x.back() + before.back() + after.back() - dilation.back() * (kernel - 1) - 1) / stride.back() + 1);
  }
  const std::string type = blocks ? "f32" : d.real();
  std::string bias = type + Draw::list({rows});
  for (int k = 0; k < spatial; ++k) bias.insert(bias.size() - 1, ",1");
  if (blocks) {
    if (!narrow) x.push_back(block);
    w.push_back(block);
    out.push_back(block);
    bias = "f32" + Draw::list({rows / block}).insert(std::to_string(rows / block).size() + 1, spatial == 1 ? ",1" : spatial == 2 ? ",1,1" : ",1,1,1");
    bias.insert(bias.size() - 1, "," + std::to_string(block));
  }
  std::string text = "conv stride=" + Draw::list(stride) + " pad_before=" + Draw::list(before) + " pad_after=" + Draw::list(after) +
                     " dilation=" + Draw::list(dilation) + " groups=" + std::to_string(count) + " type=" + type;
  text += " epilogue={mul(sigmoid(add(i0:f32, i1:f32)), i2:f32)} | ";
  text += (blocks ? type + Draw::list(x) : d.tensor(type, x)) + ", const " + type + Draw::list(w) + ", " + bias + ", ";
  const std::string image = blocks ? type + Draw::list(out) : d.tensor(type, out);
  return {text + image + " -> " + image, {}};
}

Generated resize(Draw& d) {
  const std::string mode = d.pick<std::string>({"nearest", "linear", "cubic"}), type = d.real();
  const int spatial = static_cast<int>(d.number(1, mode == "cubic" ? 2 : 3));
  Sizes s{d.number(1, 2), d.pick<int64_t>({1, 3, 8, 17})}, size;
  for (int k = 0; k < spatial; ++k) s.push_back(d.number(1, 9)), size.push_back(d.number(1, 20));
  Sizes out{s[0], s[1]};
  out.insert(out.end(), size.begin(), size.end());
  return {"resize mode=" + mode + (mode != "nearest" && d.coin() ? " align_corners=true" : "") + " size=" + Draw::list(size) + " | " + d.tensor(type, s) +
              " -> " + d.tensor(type, out),
          {-4, 4, 2e-5}};
}

Generated layout(Draw& d) {
  const int rank = static_cast<int>(d.number(1, 4));
  const Sizes s = d.sizes(rank);
  const std::string type = d.pick<std::string>({"f32", "f64", "bf16", "u8", "bool"}), x = d.tensor(type, s);
  if (d.coin()) {
    Sizes perm(static_cast<size_t>(rank)), out;
    std::iota(perm.begin(), perm.end(), int64_t{0});
    for (size_t k = perm.size(); k > 1; --k) std::swap(perm[k - 1], perm[static_cast<size_t>(d.number(0, static_cast<int64_t>(k) - 1))]);
    for (int64_t k : perm) out.push_back(s[static_cast<size_t>(k)]);
    return {"permute perm=" + Draw::list(perm) + " | " + x + " -> " + d.tensor(type, out), {}};
  }
  const std::string mode = d.pick<std::string>({"constant", "reflect", "replicate", "circular"});
  Sizes before, after, out;
  for (int64_t n : s) {
    const int64_t most = mode == "reflect" ? n - 1 : mode == "circular" ? n : 5;
    const int64_t least = mode == "constant" && n > 4 ? -2 : 0;
    before.push_back(d.number(least, std::min<int64_t>(most, 5)));
    after.push_back(d.number(least, std::min<int64_t>(most, 5)));
    out.push_back(n + before.back() + after.back());
  }
  return {"pad before=" + Draw::list(before) + " after=" + Draw::list(after) + " mode=" + mode + " | " + x + " -> " + d.tensor(type, out), {}};
}

Generated attention(Draw& d) {
  const int64_t batch = d.number(1, 2), heads = d.number(1, 2), share = d.number(1, 2), queries = d.pick<int64_t>({1, 3, 4, 97, 130}),
                keys = d.pick<int64_t>({1, 5, 16, 128, 150}), depth = d.pick<int64_t>({8, 20, 32}), width = d.pick<int64_t>({8, 20, 32});
  const std::string type = d.real();
  const bool causal = d.number(0, 2) == 0, mask = d.number(0, 2) == 0;
  const auto dense = [&](const Sizes& s) {
    return d.coin() ? type + Draw::list(s)
                    : type + Draw::list(s) + "{" + std::to_string(s[1] * s[2] * s[3]) + "," + std::to_string(s[3]) + "," + std::to_string(s[1] * s[3]) + ",1}";
  };
  std::string text = std::string("attention scale=0.3") + (causal ? " causal=true" : "") + (mask ? " has_mask=true" : "") + " type=" + type + " | ";
  text += dense({batch, heads * share, queries, depth}) + ", " + dense({batch, heads, keys, depth}) + ", " + dense({batch, heads, keys, width});
  if (mask) text += d.coin() ? ", bool" + Draw::list({queries, keys}) : ", " + type + Draw::list({batch, 1, 1, keys});
  return {text + " -> " + dense({batch, heads * share, queries, width}), {}};
}

Generated pointwise(Draw& d) {
  const std::string type = d.real(), f = d.pick<std::string>({"exp", "log", "tanh", "erf", "sigmoid", "silu", "gelu_erf", "gelu_tanh", "softplus", "mish",
                                                              "exp2", "expm1", "log1p", "log2", "sqrt", "rsqrt", "relu", "hardswish"});
  const Sizes s = d.sizes(static_cast<int>(d.number(1, 4)), true);
  const bool positive = f.starts_with("log") || f == "sqrt" || f == "rsqrt";
  const std::string program = f + (positive ? "(add(abs(i0:f32), i1:f32))" : "(add(i0:f32, i1:f32))");
  return {"pointwise program={" + program + "} types=[" + type + "] | " + d.tensor(type, s) + ", " + d.tensor(type, {s.empty() ? 1 : s.back()}) + " -> " +
              d.tensor(type, s),
          {-4, 4, f.starts_with("log") ? 1e-3 : 0}};
}

using Generator = Generated (*)(Draw&);
class Random : public ::testing::TestWithParam<std::pair<const char*, Generator>> {};

TEST_P(Random, MatchesReference) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    Draw draw(seed);
    const Generated g = GetParam().second(draw);
    SCOPED_TRACE("seed " + std::to_string(seed));
    check_against_reference(g.text, g.options);
    if (HasFailure()) return;
  }
}

const std::vector<std::pair<const char*, Generator>> kGenerators{
    {"softmax", softmax}, {"norm", norm},     {"reduce", reduce}, {"arg_reduce", arg_reduce}, {"cumulate", cumulate},
    {"sort", sorted},     {"gather", gather}, {"index", index},   {"elements", elements},     {"pool", pool},
    {"resize", resize},   {"layout", layout}, {"conv", conv},     {"attention", attention},   {"pointwise", pointwise},
};
INSTANTIATE_TEST_SUITE_P(Families, Random, ::testing::ValuesIn(kGenerators), [](const auto& i) { return std::string(i.param.first); });

}  // namespace
}  // namespace tuyere::testing_cpu
