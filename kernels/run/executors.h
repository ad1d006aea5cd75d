// SPDX-License-Identifier: Apache-2.0
// The executors of the runtime, by the name in StepSpec::executor.
#pragma once
#include <string>

#include "kernels/api/step.h"

namespace tuyere {

/// "cpu" opens libtuyere_kernels_cpu.so at first use; "cuda", "cublaslt" and "cudnn" open their libraries when a step is prepared.
/// FailedPrecondition when a library is missing, InvalidArgument for an unknown name. Safe to call from several threads.
Result<Executor*> find_executor(const std::string& name);

Executor* copy_executor();  // a strided copy of input 0 to output 0 in host memory: any rank and dtype
Executor* host_executor();  // attrs {"op", "overload", "args"}: HostTable::call

#ifdef TUYERE_WITH_CUDA
Executor* cuda_executor();
Executor* cublaslt_executor();
Executor* cudnn_executor();
#endif

/// How many threads the CPU steps share that this thread prepares and runs; 0 when the CPU library cannot be opened.
int cpu_threads();

/// What libtuyere_kernels_cpu.so exports: extern "C" tuyere::Executor* tuyere_cpu_executor() and int tuyere_cpu_threads().
using CpuExecutorEntry = Executor* (*)();
using CpuThreadsEntry = int (*)();
inline constexpr const char* kCpuExecutorEntry = "tuyere_cpu_executor";
inline constexpr const char* kCpuThreadsEntry = "tuyere_cpu_threads";

}  // namespace tuyere
