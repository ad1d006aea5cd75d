// SPDX-License-Identifier: Apache-2.0
// Every pass, one line each; the equation stands at the top of its file. Order: pipeline.cpp.
#pragma once
#include "core/passes/pass.h"

namespace tuyere {

bool precision(Network& net, const PassContext& context);         // storage types of fp16, bf16, tf32, fp32
bool simplify(Network& net, const PassContext& context);          // identities, nested views, casts
bool concats(Network& net, const PassContext& context);           // concats of concats, slices of concats
bool cse(Network& net, const PassContext& context);               // equal layers on equal inputs
bool fold_pads(Network& net, const PassContext& context);         // zeros around images, into convolutions and pooling
bool match_norm(Network& net, const PassContext& context);        // decomposed layer_norm and rms_norm
bool match_activation(Network& net, const PassContext& context);  // decomposed gelu, silu, hardswish
bool match_attention(Network& net, const PassContext& context);   // matmul, scale, mask, softmax, matmul
bool causal_masks(Network& net, const PassContext& context);      // masks that no input and no parameter decides
bool move_views(Network& net, const PassContext& context);        // views that would cost a copy: below matmuls, split early
bool sink_views(Network& net, const PassContext& context);        // pointwise after a view of a matmul or conv: before the view
bool sink_concats(Network& net, const PassContext& context);      // pointwise after a concat of convolutions, on the CPU: before the concat
bool fold_scale(Network& net, const PassContext& context);        // per-channel affine after conv and matmul, into the weights
bool merge_convs(Network& net, const PassContext& context);       // convolutions of one image that are added up
bool merge_matmuls(Network& net, const PassContext& context);     // siblings on one input: Q/K/V, gate and up
bool fuse_epilogue(Network& net, const PassContext& context);     // pointwise after conv, matmul, reduce, norm
bool fuse_formulas(Network& net, const PassContext& context);     // any pointwise after f32 products on the CPU
bool fuse_pointwise(Network& net, const PassContext& context);    // pointwise chains
bool fuse_results(Network& net, const PassContext& context);      // pointwise with a pointwise reader, both results kept
bool fuse_prologue(Network& net, const PassContext& context);     // pointwise before reduce, softmax, norm
bool split_concat(Network& net, const PassContext& context);      // rotary embeddings: pointwise on a concat of halves
bool join_siblings(Network& net, const PassContext& context);     // one formula on neighbouring slices: rotary queries and keys
bool subpixel_convs(Network& net, const PassContext& context);    // transposed convolutions whose windows lie side by side
bool conv_matmuls(Network& net, const PassContext& context);      // 1x1 convolutions of one pixel, or of images times gates
bool space_to_depth(Network& net, const PassContext& context);    // first convolutions with strides: blocks of pixels as channels
bool pad_channels(Network& net, const PassContext& context);      // images before a first convolution
bool short_biases(Network& net, const PassContext& context);      // constants of epilogues in the result's type
bool short_sums(Network& net, const PassContext& context);        // sums of two, three or four entries as formulas
bool pad_matmuls(Network& net, const PassContext& context);       // results whose rows would not be aligned
bool fuse_gates(Network& net, const PassContext& context);        // on Hopper: both products of a gated unit in one
bool layout(Network& net, const PassContext& context);            // channels-last around convolutions
bool block_channels(Network& net, const PassContext& context);    // on the CPU: blocks of channels around convolutions
bool fuse_expansions(Network& net, const PassContext& context);   // on the CPU: depthwise convolutions with the expansion before them

}  // namespace tuyere
