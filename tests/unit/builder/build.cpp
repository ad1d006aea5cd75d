// SPDX-License-Identifier: Apache-2.0
// Networks through the whole builder and the runtime on the CPU, against plain loops.
#include "core/builder/builder.h"

#include <cmath>
#include <filesystem>

#include "common/error.h"
#include "core/builder/engine_cache.h"
#include "core/builder/files.h"
#include "tests/unit/builder/build_util.h"

namespace tuyere {
namespace {

using namespace testing;

constexpr const char* kMlp = R"(x = input f32[n,6]
w1 = param f32[8,6] "fc1.weight"
b1 = param f32[8] "fc1.bias"
w2 = param f32[8,4] "fc2.weight"
h = matmul(x, w1) trans_b=true
a = add(h, b1)
r = relu(a)
s = literal f32[] 2
w = mul(w2, s)
k = matmul(r, w2)
y = matmul(r, w)
z = add(k, y)
return z)";

const std::vector<std::byte>& data_of(const Network& network, const std::string& name) {
  for (const Constant& constant : network.constants) {
    if (constant.name == name) return *constant.data;
  }
  throw std::runtime_error("no constant " + name);
}

Network mlp_network() { return network_of(kMlp); }

HostTensor mlp_of(const Network& network, const HostTensor& x) {
  auto floats = [&](const char* name) { return reinterpret_cast<const float*>(data_of(network, name).data()); };
  int64_t n = x.shape[0];
  HostTensor y{{n, 4}, std::vector<float>(n * 4)};
  const float *w1 = floats("fc1.weight"), *b1 = floats("fc1.bias"), *w2 = floats("fc2.weight");
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 8; ++k) {
      float h = b1[k];
      for (int c = 0; c < 6; ++c) h += x.data[i * 6 + c] * w1[k * 6 + c];
      for (int j = 0; j < 4; ++j) y.data[i * 4 + j] += 3 * std::max(h, 0.f) * w2[k * 4 + j];
    }
  }
  return y;
}

TEST(Build, MlpForAnyBatch) {
  Network network = mlp_network();
  auto engine = load(build(network, untimed()).bytes);
  ASSERT_TRUE(engine);
  for (int64_t n : {1, 5, 3}) {
    HostTensor x = random_tensor({n, 6});
    auto y = run(*engine, {x});
    ASSERT_EQ(y.size(), 1u);
    expect_near(y[0], mlp_of(network, x));
  }
}

TEST(Build, RefitRunsTheWeightProgram) {
  Network network = mlp_network();
  auto engine = load(build(network, untimed()).bytes);
  ASSERT_TRUE(engine);
  Network other = network;
  for (Constant& c : other.constants) {
    if (c.param) c.data = nullptr;
  }
  fill_constants(other, 99);
  std::vector<std::string> names = {"fc1.bias", "fc2.weight"};
  std::vector<int64_t> s0 = {8}, t0 = {1}, s1 = {8, 4}, t1 = {4, 1};
  std::vector<TensorRef> values = {{const_cast<std::byte*>(data_of(other, names[0]).data()), DType::F32, s0, t0, -1},
                                   {const_cast<std::byte*>(data_of(other, names[1]).data()), DType::F32, s1, t1, -1}};
  Status status = engine->refit(names, values);
  ASSERT_TRUE(status.is_ok()) << status.message();
  for (Constant& c : network.constants) {
    if (c.name == names[0] || c.name == names[1]) c.data = std::make_shared<std::vector<std::byte>>(data_of(other, c.name));
  }
  HostTensor x = random_tensor({4, 6});
  auto y = run(*engine, {x});
  ASSERT_EQ(y.size(), 1u);
  expect_near(y[0], mlp_of(network, x));
}

constexpr const char* kCnn = R"(x = input f32[n,3,6,6]
w1 = param f32[4,3,3,3]@0231 "c1.weight"
b1 = param f32[4,1,1] "c1.bias"
xl@0231 = cast(x) type=f32
c@0231 = conv(xl, w1) stride=[1,1] pad_before=[1,1] pad_after=[1,1] dilation=[1,1]
a@0231 = add(c, b1)
r@0231 = relu(a)
m@0231 = pool(r) kernel=[2,2] stride=[2,2] pad=[0,0] dilation=[1,1]
k@0231 = concat(m, m) axis=1
f = reshape(k) shape=[n,72]
return f)";

HostTensor cnn_of(const Network& network, const HostTensor& x) {
  const float* w = reinterpret_cast<const float*>(data_of(network, "c1.weight").data());
  const float* b = reinterpret_cast<const float*>(data_of(network, "c1.bias").data());
  int64_t n = x.shape[0];
  HostTensor y{{n, 72}, std::vector<float>(n * 72)};
  auto conv = [&](int64_t i, int o, int r, int c) {
    float sum = b[o];
    for (int ch = 0; ch < 3; ++ch) {
      for (int u = 0; u < 3; ++u) {
        for (int v = 0; v < 3; ++v) {
          int p = r + u - 1, q = c + v - 1;
          if (p >= 0 && p < 6 && q >= 0 && q < 6) sum += x.data[((i * 3 + ch) * 6 + p) * 6 + q] * w[((o * 3 + ch) * 3 + u) * 3 + v];
        }
      }
    }
    return std::max(sum, 0.f);
  };
  for (int64_t i = 0; i < n; ++i) {
    for (int o = 0; o < 8; ++o) {
      for (int p = 0; p < 9; ++p) {
        int r = p / 3 * 2, c = p % 3 * 2;
        y.data[i * 72 + o * 9 + p] =
            std::max(std::max(conv(i, o % 4, r, c), conv(i, o % 4, r + 1, c)), std::max(conv(i, o % 4, r, c + 1), conv(i, o % 4, r + 1, c + 1)));
      }
    }
  }
  return y;
}

TEST(Build, CnnInChannelsLast) {
  Network network = network_of(kCnn);
  BuiltEngine built = build(network, untimed());
  auto engine = load(built.bytes);
  ASSERT_TRUE(engine);
  HostTensor x = random_tensor({2, 3, 6, 6});
  auto y = run(*engine, {x});
  ASSERT_EQ(y.size(), 1u);
  expect_near(y[0], cnn_of(network, x));
  EXPECT_GE(built.report.arena_bytes, built.report.arena_lower_bound);
  EXPECT_EQ(built.report.layers.size(), engine->body().steps.size());
}

TEST(Build, ConstantOutputsAndPassedInputs) {
  Network network = network_of("x = input f32[2,2]\nw = param f32[3] \"w\"\ny = neg(w)\nreturn x, w, y, y");
  auto engine = load(build(network, untimed()).bytes);
  ASSERT_TRUE(engine);
  HostTensor x = random_tensor({2, 2});
  auto y = run(*engine, {x});
  ASSERT_EQ(y.size(), 4u);
  expect_near(y[0], x);
  const float* w = reinterpret_cast<const float*>(data_of(network, "w").data());
  expect_near(y[1], {{3}, {w[0], w[1], w[2]}});
  expect_near(y[2], {{3}, {-w[0], -w[1], -w[2]}});
  expect_near(y[3], y[2]);
}

TEST(Build, SymbolsAreBound) {
  Network network = network_of("x = input f32[2*n+1,3]\ny = input f32[4,m]\nz = input f32[n,m]\na = relu(x)\nb = neg(z)\nreturn a, b");
  auto engine = load(build(network, untimed()).bytes);
  ASSERT_TRUE(engine);
  ASSERT_EQ(engine->body().symbols.size(), 2u);
  EXPECT_EQ(engine->body().symbols[0].input, 1);
  EXPECT_EQ(engine->body().symbols[1].input, 2);
  Network linear = network_of("x = input f32[2*n+1,3]\na = relu(x)\nreturn a");
  EXPECT_EQ(load(build(linear, untimed()).bytes)->body().symbols[0].expr.str(), "2*n+1");
  Network unbound = network_of("x = input f32[n*m,3]\na = relu(x)\nreturn a");
  EXPECT_THROW(build(unbound, untimed()), Error);
}

TEST(Build, SameCacheSameBytes) {
  std::string path = std::filesystem::temp_directory_path() / "tuyere_build_test.jsonl";
  std::filesystem::remove(path);
  BuilderConfig config;
  config.timing_cache = path;
  config.optimization_level = 3;
  Network network = mlp_network();
  BuiltEngine first = build(network, config);
  BuiltEngine second = build(network, config);
  EXPECT_EQ(second.report.timed, 0);
  EXPECT_EQ(first.report.timed, second.report.cache_hits);
  EXPECT_TRUE(first.bytes == second.bytes);
  std::filesystem::remove(path);
}

TEST(Build, Profiles) {
  BuilderConfig config = untimed();
  OptimizationProfile small, large;
  small.symbols["n"] = {1, 2, 4};
  large.symbols["n"] = {5, 6, 7};
  config.profiles = {small, large};
  Network network = mlp_network();
  auto engine = load(build(network, config).bytes);
  ASSERT_TRUE(engine);
  for (int64_t n : {1, 6, 4, 7}) {
    HostTensor x = random_tensor({n, 6});
    expect_near(run(*engine, {x}).at(0), mlp_of(network, x));
  }
  config.profiles[0].symbols["m"] = {1, 2, 4};
  EXPECT_THROW(build(network, config), Error);
  config.profiles[0].symbols = {{"n", {3, 2, 4}}};
  EXPECT_THROW(build(network, config), Error);
}

TEST(Build, WeightsInASecondFile) {
  BuilderConfig config = untimed();
  Network network = mlp_network();
  HostTensor x = random_tensor({4, 6});
  const auto want = run(*load(build(network, config).bytes), {x});
  config.weights = "separate";
  BuiltEngine built = build(network, config);
  ASSERT_FALSE(built.weights.empty());
  const std::string path = std::filesystem::temp_directory_path() / "tuyere_build_test.weights";
  write_file(path, {reinterpret_cast<const char*>(built.weights.data()), built.weights.size()});
  auto bytes = std::make_shared<std::vector<std::byte>>(built.bytes);
  EXPECT_FALSE(Engine::load(*bytes, bytes).is_ok());
  EngineOptions options;
  options.weights_file = path;
  auto engine = Engine::load(*bytes, bytes, options);
  std::filesystem::remove(path);
  ASSERT_TRUE(engine.is_ok()) << engine.status().message();
  expect_near(run(**engine, {x}).at(0), want.at(0), 0);
  config.weights = "everywhere";
  EXPECT_THROW(build(network, config), Error);
}

TEST(Build, ReportsAreKeptInTheFile) {
  BuiltEngine built = build(mlp_network(), untimed());
  auto engine = load(built.bytes);
  ASSERT_TRUE(engine);
  BuildReport kept = parse_report(engine->plan().meta.at("report"));
  ASSERT_EQ(kept.layers.size(), built.report.layers.size());
  EXPECT_EQ(kept.layers[0].tactic, built.report.layers[0].tactic);
  EXPECT_EQ(kept.passes.size(), built.report.passes.size());
  EXPECT_EQ(to_json(kept, true), engine->plan().meta.at("report"));
  EXPECT_NE(engine->plan().meta.at("libraries").find("tuyere"), std::string::npos);
  EXPECT_THROW(parse_report("{}"), Error);
}

TEST(EngineCache, KeepsAndFinds) {
  const std::string folder = std::filesystem::temp_directory_path() / "tuyere_engine_cache_test";
  std::filesystem::remove_all(folder);
  BuilderConfig config = untimed();
  config.engine_cache = folder;
  BuiltEngine first = build_cached(mlp_network(), config), second = build_cached(mlp_network(), config);
  EXPECT_FALSE(first.report.from_cache);
  EXPECT_TRUE(second.report.from_cache);
  EXPECT_TRUE(first.bytes == second.bytes);
  EXPECT_EQ(second.report.layers.size(), first.report.layers.size());
  config.tf32_conv = true;
  EXPECT_FALSE(build_cached(mlp_network(), config).report.from_cache);
  std::filesystem::remove_all(folder);
}

TEST(Build, Cancel) {
  BuilderConfig config = untimed();
  config.progress = [](const std::string& phase, int, int, const std::string&) { return phase != "emit"; };
  EXPECT_THROW(build(mlp_network(), config), Error);
}

TEST(Build, RefusesUnknownOptions) {
  BuilderConfig config = untimed();
  config.target = "tpu";
  EXPECT_THROW(build(mlp_network(), config), Error);
  config = untimed();
  config.tactic_sources = {"magic"};
  EXPECT_THROW(build(mlp_network(), config), Error);
  config = untimed();
  config.optimization_level = 9;
  EXPECT_THROW(build(mlp_network(), config), Error);
}

TEST(EngineKey, SeesConstantsAndOptions) {
  Network network = mlp_network(), other = mlp_network();
  Target cpu = find_target("cpu");
  EXPECT_EQ(engine_key(network, untimed(), cpu), engine_key(other, untimed(), cpu));
  BuilderConfig config = untimed();
  config.precision = "bf16";
  EXPECT_NE(engine_key(network, untimed(), cpu), engine_key(network, config, cpu));
  auto data = std::make_shared<std::vector<std::byte>>(*other.constants[0].data);
  (*data)[0] ^= std::byte{1};
  other.constants[0].data = data;
  EXPECT_NE(engine_key(network, untimed(), cpu), engine_key(other, untimed(), cpu));
}

TEST(FindTarget, Architectures) {
  EXPECT_EQ(find_target("sm_80").multiprocessors > 0, true);
  EXPECT_EQ(find_target("sm_90a").arch(), "sm_90a");
  EXPECT_EQ(find_target("cpu").arch(), "cpu");
  EXPECT_THROW(find_target("cuda:x"), Error);
  EXPECT_THROW(find_target("sm_70"), Error);
}

}  // namespace
}  // namespace tuyere
