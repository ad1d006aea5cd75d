/* SPDX-License-Identifier: Apache-2.0 */
/* C interface of the lean runtime (libtuyere_runtime.so). Functions that return int give 0, or a code > 0; tuyere_last_error() then has the text.
   Engines may be used from several threads; a context from one thread at a time. */
#ifndef TUYERE_C_API_H
#define TUYERE_C_API_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tuyere_engine tuyere_engine;
typedef struct tuyere_context tuyere_context;

enum { TUYERE_OK = 0, TUYERE_INVALID_ARGUMENT, TUYERE_FAILED_PRECONDITION, TUYERE_DATA_LOSS, TUYERE_OUT_OF_MEMORY, TUYERE_UNSUPPORTED, TUYERE_INTERNAL };

/* An input or output. Pointers live as long as the engine (tuyere_engine_input) or until the shapes change (tuyere_context_input). */
typedef struct {
  const char* name;
  const char* dtype; /* "f32", "f16", "bf16", "i64", "bool", ... */
  int rank;
  const int64_t* shape;   /* -1: dynamic (engines only) */
  const int64_t* strides; /* elements; NULL for engines */
  int64_t bytes;          /* memory to provide, 16-byte aligned; -1 for engines */
} tuyere_io;

/* Text of the last error on this thread. */
const char* tuyere_last_error(void);

/* device: CUDA ordinal, used by GPU engines only. */
int tuyere_engine_load(const char* path, int device, tuyere_engine** engine);
/* Copies nothing: data must outlive the engine. */
int tuyere_engine_load_memory(const void* data, size_t bytes, int device, tuyere_engine** engine);
/* Contexts keep what they need: order does not matter. */
void tuyere_engine_destroy(tuyere_engine* engine);
/* -1: the CPU. Inputs and outputs are to be in this device's memory. */
int tuyere_engine_device(const tuyere_engine* engine);
int tuyere_engine_input_count(const tuyere_engine* engine);
int tuyere_engine_output_count(const tuyere_engine* engine);
int tuyere_engine_input(const tuyere_engine* engine, int index, tuyere_io* io);
int tuyere_engine_output(const tuyere_engine* engine, int index, tuyere_io* io);

int tuyere_context_create(tuyere_engine* engine, tuyere_context** context);
void tuyere_context_destroy(tuyere_context* context);
/* Until it is called, dynamic sizes have the values the engine was tuned for. shape has the input's rank. */
int tuyere_context_set_shape(tuyere_context* context, int input, const int64_t* shape);
/* Everything slow for the shapes that are set; after it, shapes, strides and bytes can be asked for. */
int tuyere_context_prepare(tuyere_context* context);
int tuyere_context_input(const tuyere_context* context, int index, tuyere_io* io);
int tuyere_context_output(const tuyere_context* context, int index, tuyere_io* io);
/* One address per input and output. stream: a CUstream, or NULL; it must exist until the next call on another stream, or the end of the context. Returns
   before the GPU has finished. */
int tuyere_context_execute(tuyere_context* context, void* const* inputs, void* const* outputs, void* stream);

/* Memory where the engine runs, for callers without a CUDA library of their own. tuyere_copy goes in any direction and waits for the default stream. */
int tuyere_allocate(tuyere_engine* engine, int64_t bytes, void** data);
void tuyere_release(tuyere_engine* engine, void* data);
int tuyere_copy(tuyere_engine* engine, void* to, const void* from, int64_t bytes);

#ifdef __cplusplus
}
#endif
#endif
