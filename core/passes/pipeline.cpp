// SPDX-License-Identifier: Apache-2.0
// The pipeline: one array. Every invariant that a later pass relies on is a comment here.
#include "core/passes/passes.h"

namespace tuyere {

const std::vector<Pass>& pipeline() {
  static const std::vector<Pass> passes = {
      {"simplify", simplify},
      {"concats", concats},
      {"simplify_parts", simplify},
      {"cse", cse},
      {"fold_pads", fold_pads},
      {"match_norm", match_norm},
      {"match_attention", match_attention},
      {"causal_masks", causal_masks},
      {"short_sums", short_sums},
      {"move_views", move_views},
      {"sink_views", sink_views},
      {"sink_concats", sink_concats},
      {"simplify_sunk", simplify},
      {"fold_scale", fold_scale},
      {"simplify_folded", simplify},
      {"merge_convs", merge_convs},
      // After the folding, so that folded weights are rounded once. From here on storage types are final.
      {"precision", precision},
      {"simplify_typed", simplify},
      {"merge_matmuls", merge_matmuls},
      // From here on per-channel scales are in the weights: an epilogue only sees bias, residual and activation.
      {"fuse_epilogue", fuse_epilogue},
      {"fuse_pointwise", fuse_pointwise},
      {"match_activation", match_activation},
      // A formula that was many readers of a view is one reader now.
      {"sink_views_fused", sink_views},
      {"simplify_activations", simplify},
      {"fuse_epilogue_chains", fuse_epilogue},
      {"fuse_prologue", fuse_prologue},
      {"simplify_fused", simplify},
      {"split_concat", split_concat},
      {"cse_fused", cse},
      // After it, so that tables of cosines and sines are the same tensors.
      {"join_siblings", join_siblings},
      {"subpixel_convs", subpixel_convs},
      {"conv_matmuls", conv_matmuls},
      // The first convolutions that it leaves are padded.
      {"space_to_depth", space_to_depth},
      {"pad_channels", pad_channels},
      {"short_biases", short_biases},
      {"pad_matmuls", pad_matmuls},
      {"fuse_gates", fuse_gates},
      // Last of the fusions: the others and the paddings look for producers with one result.
      {"fuse_results", fuse_results},
      // What is still behind a product alone, no other layer takes.
      {"fuse_formulas", fuse_formulas},
      // From here on layouts mean something: copies between memory orders are identity layers, which simplify keeps apart by layout only.
      {"layout", layout, Phase::laid_out},
      {"block_channels", block_channels, Phase::laid_out},
      // Last: no other pass knows its operator.
      {"fuse_expansions", fuse_expansions, Phase::laid_out},
  };
  return passes;
}

}  // namespace tuyere
