// SPDX-License-Identifier: Apache-2.0
// CUDA source pieces shared by the tensor-core families. A kernel source is: cuda_prelude(), primitives_text(), the constants and functions
// that a generator prints, then the text of a core. tests/emulator runs the same sources on the CPU: everything that needs inline
// assembly is in primitives_text() and has a counterpart in tests/emulator/device.h.
#pragma once
#include <string>

namespace tuyere::mma {

/// ldmatrix, mma.sync, cp.async, conversions of 16-bit floats, programmatic launch.
const char* primitives_text();
/// Shared-memory tiles (swizzled 16-byte chunks) and the loader of a strided matrix operand.
const char* tile_text();
/// Fragment loads, the multi-stage main loop on tensor cores and the store of accumulators through shared memory.
const char* mma_core_text();
/// The same main loop in FFMA arithmetic (f32, IEEE).
const char* simt_core_text();
/// Memory barriers of a cluster, loads of the tensor memory accelerator, descriptors and fences of warpgroup products; needs TGH_CLUSTER, TGH_SPLIT and
/// TGH_GROUPS.
const char* hopper_primitives_text();
/// tgh_store_staged: 16-bit results are turned in shared memory and stored 16 bytes at a time, also where rows begin anywhere (TGH_SHIFTED).
const char* hopper_staged_text();
/// The warpgroup instruction for 64 rows and `columns` columns: name(float* d, a, b) with descriptors of matrices in shared memory; a may also be the fragments
/// of mma.sync in registers.
struct WgmmaText {
  std::string name;
  int columns = 64;
  std::string type = "f16";  // or "bf16"
  bool a_kmajor = true, b_kmajor = true, a_in_registers = false;
};
std::string wgmma_text(const WgmmaText& instruction);

}  // namespace tuyere::mma
