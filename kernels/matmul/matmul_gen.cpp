// SPDX-License-Identifier: Apache-2.0
#include "kernels/matmul/matmul_gen.h"

namespace tuyere::matmul {
namespace {

std::string fill_loader(const char* name, const View& v, const mma::Matrix& matrix, const char* row0, const std::string& rows, const std::string& k,
                        mma::KernelParams& params) {
  const std::string at = std::string("  load.") + name + ".";
  return at + "base = (const char*)(" + base(v, matrix, params) + ");\n" + at + "stride_row = " + params.offset(matrix.row) + ";\n" + at +
         "stride_k = " + params.offset(matrix.k) + ";\n" + at + "row0 = " + row0 + ";\n" + at + "rows = " + rows + ";\n" + at + "k_end = " + k + ";\n";
}

}  // namespace

mma::KernelSource tiled_source(const Problem& problem, const Target& target, const mma::Tile& tile) {
  const View v = view(problem);
  mma::KernelParams params;
  mma::GemmText text;
  text.tile = tile;
  text.dtype = v.a.dtype;
  text.a_kmajor = tile.simt || v.a.k_major();
  text.b_kmajor = tile.simt || v.b.k_major();
  text.width = mma::epilogue_width(v.outs);
  text.epilogue = mma::emit_epilogue(epilogue(v, v.coords() - 1, text.width), params);
  text.m = params.size(v.m), text.n = params.size(v.n), text.k = params.size(v.k);
  for (const Dim& b : v.batch) text.batch.push_back(params.size(b));
  const bool k_edge = !mma::divisible(v.k, tile.bk);
  text.loader_types = "typedef " + mma::matrix_loader("TgmA", tile, v.a, !mma::divisible(v.m, tile.bm), k_edge, tile.simt) + " TgmLoadA;\ntypedef " +
                      mma::matrix_loader("TgmB", tile, v.b, !mma::divisible(v.n, tile.bn), k_edge, tile.simt) + " TgmLoadB;\n";
  text.setup = fill_loader("a", v, v.a, "m0", text.m, text.k, params) + fill_loader("b", v, v.b, "n0", text.n, text.k, params);
  text.store_coords = batch_names(v) + "m, n";
  text.workspace = v.workspace();
  return mma::gemm_source(text, params, mma::needs_wide(problem), target, v.m, v.n, v.batch_count());
}

mma::StreamSize stream_size(const Problem& problem, const View& view) {
  const mma::GemmSize size = gemm_size(problem, view);
  double bytes = size.bytes;
  for (const mma::EpilogueTensor& t : view.extras)
    if (!t.strides[static_cast<size_t>(view.coords()) - 2].is_const(0)) bytes += static_cast<double>(size.batch) * size.m * size.n * mma::size_of(t.dtype);
  return {size.m, size.n, size.k, size.batch, size.element, bytes};
}

mma::KernelSource stream_source(const Problem& problem, const Target& target, const mma::StreamShape& shape) {
  const View v = view(problem);
  mma::KernelParams params;
  mma::StreamText text;
  text.shape = shape;
  text.size = stream_size(problem, v);
  text.dtype = v.a.dtype;
  text.a = v.a, text.b = v.b, text.m = v.m, text.batch = v.batch;
  text.a_base = base(v, v.a, params), text.b_base = base(v, v.b, params);
  text.constant_weights = problem.in[1].constant;
  text.width = mma::epilogue_width(v.outs);
  text.epilogue = mma::emit_epilogue(epilogue(v, v.coords() - 1, text.width), params);
  text.store_coords = batch_names(v) + "m, n";
  return mma::stream_source(text, params, mma::needs_wide(problem), target);
}

}  // namespace tuyere::matmul
