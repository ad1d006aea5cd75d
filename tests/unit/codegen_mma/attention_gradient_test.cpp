// SPDX-License-Identifier: Apache-2.0
// own.attention_gradient.flash on the emulator against float64.
#include <gtest/gtest.h>

#include "kernels/api/tactics.h"
#include "tests/unit/codegen_mma/harness.h"

namespace tuyere {
namespace {

constexpr const char* kProblems[] = {
    "attention_gradient scale=0.3 type=f16 | f16[1,2,37,64]{4736,64,128,1}, f16[1,2,37,64]{4736,64,128,1}, f16[1,2,50,64], f16[1,2,50,64], f16[1,2,37,64], "
    "f32[1,2,37] -> f16[1,2,37,64], f16[1,2,50,64]{6400,64,128,1}, f16[1,2,50,64]",
    "attention_gradient scale=0.3 causal=true type=bf16 | bf16[2,1,100,24], bf16[2,1,100,24], bf16[2,1,100,24], bf16[2,1,100,24], bf16[2,1,100,24], "
    "f32[2,1,100] -> bf16[2,1,100,24], bf16[2,1,100,24], bf16[2,1,100,24]",
    "attention_gradient scale=-0.2 has_mask=true type=f16 | f16[1,2,20,128], f16[1,2,20,128], f16[1,2,40,128], f16[1,2,40,128], f16[1,2,20,128], f32[1,2,20], "
    "bool[2,20,40] -> f32[1,2,20,128], f32[1,2,40,128], f32[1,2,40,128]",
    "attention_gradient scale=0.3 causal=true has_mask=true type=f16 | f16[b,1,s,16], f16[b,1,s,16], f16[b,1,s,16], f16[b,1,s,16], f16[b,1,s,16], f32[b,1,s], "
    "f16[b,1,1,s] -> f16[b,1,s,16], f16[b,1,s,16], f16[b,1,s,16] | b=2 s=70",
};

mma::KernelSource generate(const Problem& p) {
  for (const auto& tactic : cuda_tactics(p.op))
    if (tactic->name() == "own.attention_gradient.flash" && tactic->supports(p, kHopper))
      return static_cast<const mma::KernelTactic&>(*tactic).generate(p, kHopper, "");
  ADD_FAILURE() << "not supported";
  return {};
}

/// dq, dk and dv of one head, in order.
struct Gradients {
  std::vector<double> values[3];
};

Gradients reference(const AttentionGradient& op, std::vector<testing::Tensor>& in, int64_t b, int64_t h) {
  const int64_t queries = in[1].shape[2], keys = in[2].shape[2], depth = in[1].shape[3];
  Gradients out;
  for (int k = 0; k < 3; ++k) out.values[k].assign(static_cast<size_t>((k ? keys : queries) * depth), 0);
  const auto dot = [&](int x, int64_t i, int y, int64_t j) {
    double sum = 0;
    for (int64_t d = 0; d < depth; ++d) sum += in[x].get({b, h, i, d}) * in[y].get({b, h, j, d});
    return sum;
  };
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t j = 0; j < (op.causal ? i + 1 : keys); ++j) {
      double score = op.scale * dot(1, i, 2, j);
      if (op.has_mask) {
        const double m = in[6].broadcast({b, h, i, j});
        if (in[6].dtype == DType::Bool && m == 0) continue;
        if (in[6].dtype != DType::Bool) score += m;
      }
      const double p = std::exp(score - in[5].get({b, h, i})), slope = op.scale * p * (dot(0, i, 3, j) - dot(0, i, 4, i));
      for (int64_t d = 0; d < depth; ++d) {
        out.values[0][i * depth + d] += slope * in[2].get({b, h, j, d});
        out.values[1][j * depth + d] += slope * in[1].get({b, h, i, d});
        out.values[2][j * depth + d] += p * in[0].get({b, h, i, d});
      }
    }
  return out;
}

/// Errors relative to the norm of a whole head: the weights are rounded before they are multiplied.
void check(const Problem& p) {
  testing::Tensors t(p, p.hints, 5);
  testing::emulate(generate(p), p, t);
  const double bound = 2 * epsilon(p.in[0].dtype);
  for (int64_t b = 0; b < t.in[0].shape[0]; ++b)
    for (int64_t h = 0; h < t.in[0].shape[1]; ++h) {
      const Gradients want = reference(std::get<AttentionGradient>(p.op), t.in, b, h);
      for (int k = 0; k < 3; ++k) {
        double error = 0, norm = 0;
        const int64_t rows = t.out[k].shape[2], depth = t.out[k].shape[3];
        for (int64_t i = 0; i < rows * depth; ++i) {
          const double w = want.values[k][i], e = t.out[k].get({b, h, i / depth, i % depth}) - w;
          error += e * e, norm += w * w;
        }
        EXPECT_LE(std::sqrt(error), bound * std::sqrt(norm)) << "output " << k << " of head " << h;
      }
    }
  for (testing::Tensor& out : t.out) EXPECT_TRUE(out.guards_intact());
}

TEST(FlashGradient, MatchesReference) {
  for (const char* text : kProblems) {
    SCOPED_TRACE(text);
    check(parse_problem(text));
  }
}

}  // namespace

std::vector<testing::NamedSource> testing::attention_gradient_sources() {
  std::vector<NamedSource> sources;
  for (const char* text : kProblems) sources.push_back({text, generate(parse_problem(text))});
  return sources;
}

}  // namespace tuyere
