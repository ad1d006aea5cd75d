// SPDX-License-Identifier: Apache-2.0
#include "kernels/onednn/onednn_tactics.h"

#include "kernels/api/conv_blocks.h"
#include "kernels/cpu/cpu_tactic.h"
#include "kernels/onednn/dnnl_library.h"

namespace tuyere {
namespace {

bool library_float(DType t) { return t == DType::F32 || t == DType::BF16 || t == DType::F16; }

}  // namespace

bool onednn_available() {
#ifdef TUYERE_WITH_ONEDNN
  return open_dnnl() != nullptr;
#else
  return false;
#endif
}

Support onednn_gemm_supports(const Problem& p) {
  REQUIRE(onednn_available(), "libdnnl.so.3 cannot be opened");
  REQUIRE(p.out.size() == 1, "post-ops have one output");
  REQUIRE(library_float(p.in[0].dtype) && library_float(p.in[1].dtype), "the library path is for f32, bf16 and f16");
  if (std::holds_alternative<Conv>(p.op)) {
    const size_t spatial = std::get<Conv>(p.op).stride.size();
    REQUIRE(spatial >= 1 && spatial <= 3, "one to three spatial dims");
    const TensorDesc& w = p.in[1];
    if (in_blocks(w.shape.size(), spatial)) {
      REQUIRE(w.constant, "only a constant weight comes in blocks");
      REQUIRE(w.shape[0].is_const(1) || w.strides[0] == w.shape.back() * w.strides.back(), "the rows of the weight are not evenly spaced");
    }
  } else {
    REQUIRE(p.in[0].rank() >= 2 && p.in[1].rank() >= 2, "operands must be matrices");
  }
  return whole_bytes(p);
}

}  // namespace tuyere
