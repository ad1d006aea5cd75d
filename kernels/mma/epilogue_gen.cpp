// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/error.h"
#include "kernels/mma/kernel_source.h"

namespace tuyere::mma {
namespace {

enum class Access { vector, strided, uniform };

Access access(const Epilogue& e, const EpilogueTensor& t) {
  if (t.strides[e.vec].is_const(0)) return Access::uniform;
  int unit = std::min(16, e.width * size_of(t.dtype));
  bool ok = e.aligned && t.strides[e.vec].is_const(1) && t.alignment % unit == 0;
  for (int c = 0; c < e.coords; ++c)
    if (c != e.vec) ok = ok && divisible(t.strides[c], std::max(1, unit / size_of(t.dtype)));
  return ok ? Access::vector : Access::strided;
}

std::string offset_of(const Epilogue& e, const EpilogueTensor& t, KernelParams& params) {
  std::string text;
  for (int c = 0; c < e.coords; ++c) {
    if (t.strides[c].is_const(0)) continue;
    std::string term = "(TGM_IDX)c" + std::to_string(c);
    if (!t.strides[c].is_const(1)) term += " * (TGM_IDX)" + params.offset(t.strides[c]);
    text += (text.empty() ? "" : " + ") + term;
  }
  return text.empty() ? "0" : text;
}

struct Printer {
  const Epilogue& e;
  KernelParams& params;
  std::string code;
  std::vector<int> given = {};  // extras whose values are handed in

  std::string stride(const EpilogueTensor& t) const { return params.offset(t.strides[e.vec]); }

  /// Loads that do not depend on the element, or that are made for all elements at once.
  void loads(bool full) {
    for (size_t k = 0; k < e.extras.size(); ++k) {
      const EpilogueTensor& t = e.extras[k];
      std::string n = std::to_string(k), type = storage_ctype(t.dtype), p = params.pointer(t.position, t.dtype, false);
      const auto place = std::find(given.begin(), given.end(), static_cast<int>(k));
      if (place != given.end()) {
        const std::string pair = "given[" + std::to_string(place - given.begin()) + "]";
        code += "    " + type + " e" + n + "[TGM_V];\n    e" + n + "[0].x = (unsigned short)" + pair + ", e" + n + "[1].x = (unsigned short)(" + pair +
                " >> 16);\n";
      } else if (access(e, t) == Access::uniform) {
        code += "    " + type + " e" + n + " = " + p + "[i" + n + "];\n";
      } else if (full && access(e, t) == Access::vector) {
        code += "    " + type + " e" + n + "[TGM_V];\n    tg_load<TGM_V>(e" + n + ", " + p + " + i" + n + ");\n";
      } else {
        std::string at = p + "[i" + n + " + (TGM_IDX)e * (TGM_IDX)" + stride(t) + "]";
        code += "    " + type + " e" + n + "[TGM_V];\n#pragma unroll\n    for (int e = 0; e < TGM_V; ++e)" + (full ? "" : " if (e < count)") + " e" + n +
                "[e] = " + at + ";\n";
      }
    }
  }

  void compute(bool full) {
    for (size_t k = 0; k < e.outs.size(); ++k) code += "    " + storage_ctype(e.outs[k].dtype) + " r" + std::to_string(k) + "[TGM_V];\n";
    code += std::string("#pragma unroll\n    for (int e = 0; e < TGM_V; ++e)") + (full ? "" : " if (e < count)") + " {\n";
    std::vector<std::string> inputs;
    for (int k = 0; k < e.mains; ++k) inputs.push_back("x[" + std::to_string(k) + " * TGM_V + e]");
    for (size_t k = 0; k < e.extras.size(); ++k) {
      bool uniform = access(e, e.extras[k]) == Access::uniform;
      inputs.push_back("e" + std::to_string(k) + (uniform ? "" : "[e]"));
    }
    std::vector<std::string> results{"x[e]"};
    if (!e.program.empty()) {
      for (size_t k = 0; k < inputs.size(); ++k) inputs[k] = "tg_cvt<" + compute_ctype(e.program.inputs[k]) + ">(" + inputs[k] + ")";
      results = emit_cuda(e.program, inputs, "q", code);
    }
    for (size_t k = 0; k < e.outs.size(); ++k)
      code += "      r" + std::to_string(k) + "[e] = tg_cvt<" + storage_ctype(e.outs[k].dtype) + ">(" + results[k] + ");\n";
    code += "    }\n";
  }

  void stores(bool full) {
    for (size_t k = 0; k < e.outs.size(); ++k) {
      const EpilogueTensor& t = e.outs[k];
      std::string n = std::to_string(k), p = params.pointer(t.position, t.dtype, true);
      if (full && access(e, t) == Access::vector)
        code += "    if (keep) tg_store<TGM_V>(" + p + " + o" + n + ", r" + n + ");\n";
      else
        code += std::string("#pragma unroll\n    for (int e = 0; e < TGM_V; ++e)") + (full ? " if (keep)" : " if (e < count)") + " " + p + "[o" + n +
                " + (TGM_IDX)e * (TGM_IDX)" + stride(t) + "] = r" + n + "[e];\n";
    }
  }

  void puts() {
    for (size_t k = 0; k < e.outs.size(); ++k) {
      const std::string n = std::to_string(k);
      code += "    outs[" + n + "].put(" + params.pointer(e.outs[k].position, e.outs[k].dtype, true) + " + o" + n + ", r" + n + ");\n";
    }
  }

  /// A function that finds value c0, ... of the k-th of 16-bit tensors.
  std::string addresses(const std::string& name, const std::vector<EpilogueTensor>& tensors, bool written) {
    const std::string pointer = written ? "unsigned short*" : "const unsigned short*";
    std::string text = "TGM_DEV " + pointer + " " + name + "(TG_PARAMS, int k";
    for (int c = 0; c < e.coords; ++c) text += ", int c" + std::to_string(c);
    text += ") {\n";
    for (size_t k = 0; k < tensors.size(); ++k) {
      const EpilogueTensor& t = tensors[k];
      text += "  if (k == " + std::to_string(k) + ") return (" + pointer + ")(" + params.pointer(t.position, t.dtype, written) + " + " +
              offset_of(e, t, params) + ");\n";
    }
    return text + "  return 0;\n}\n";
  }

  /// The signature up to x, and the offsets of all tensors.
  std::string begin(const std::string& prefix, const std::string& name, const std::string& last) {
    std::string text = "#define TGM_V " + std::to_string(e.width) + "\n" + prefix + "TGM_DEV void " + name + "(TG_PARAMS";
    for (int c = 0; c < e.coords; ++c) text += ", int c" + std::to_string(c);
    text += std::string(", const ") + storage_ctype(e.acc) + "* x, " + last + ") {\n";
    for (size_t k = 0; k < e.extras.size(); ++k) text += "  TGM_IDX i" + std::to_string(k) + " = " + offset_of(e, e.extras[k], params) + ";\n";
    for (size_t k = 0; k < e.outs.size(); ++k) text += "  TGM_IDX o" + std::to_string(k) + " = " + offset_of(e, e.outs[k], params) + ";\n";
    return text;
  }
};

void check(const Epilogue& e) {
  INTERNAL_CHECK(e.program.empty() || e.program.inputs.size() == e.extras.size() + static_cast<size_t>(e.mains),
                 "epilogue of " << e.program.inputs.size() << " inputs, " << e.extras.size() << " tensors");
  INTERNAL_CHECK(e.outs.size() == (e.program.empty() ? 1 : e.program.outputs.size()), "epilogue outputs");
}

}  // namespace

std::string emit_epilogue(const Epilogue& e, KernelParams& params, const std::string& name) {
  check(e);
  Printer printer{e, params, {}};
  std::string& code = printer.code;
  code = printer.begin("", name, "int count, bool keep = true") + "  if (count >= TGM_V) {\n";
  printer.loads(true), printer.compute(true), printer.stores(true);
  code += "  }";
  if (e.width > 1) {
    code += " else {\n";
    printer.loads(false), printer.compute(false), printer.stores(false);
    code += "  }";
  }
  return code + "\n}\n";
}

std::string emit_pair_epilogue(Epilogue e, const std::vector<int>& given, KernelParams& params) {
  check(e);
  e.width = 2;
  Printer printer{e, params, {}, given};
  std::string& code = printer.code;
  code = printer.begin("template <class OUT> ", "tgm_pair_epilogue", "const unsigned* given, OUT* outs");
  printer.loads(true), printer.compute(true), printer.puts();
  std::vector<EpilogueTensor> extras;
  for (int k : given) extras.push_back(e.extras[static_cast<size_t>(k)]);
  return code + "}\n#undef TGM_V\n" + printer.addresses("tgm_result", e.outs, true) + printer.addresses("tgm_given", extras, false);
}

int epilogue_width(const std::vector<EpilogueTensor>& outs) {
  int width = 4;
  for (const EpilogueTensor& t : outs) width = std::max(width, std::min(8, 16 / size_of(t.dtype)));
  return width;
}

bool merge_coordinates(std::vector<Dim>& sizes, const std::vector<std::vector<Dim>*>& sets, int outer) {
  const Dim a = sizes[outer], b = sizes[outer + 1];
  for (const std::vector<Dim>* s : sets)
    if (!a.is_const(1) && !b.is_const(1) && (*s)[outer] != (*s)[outer + 1] * b) return false;
  for (std::vector<Dim>* s : sets) {
    if (b.is_const(1)) (*s)[outer + 1] = (*s)[outer];
    s->erase(s->begin() + outer);
  }
  sizes[outer + 1] = a * b;
  sizes.erase(sizes.begin() + outer);
  return true;
}

}  // namespace tuyere::mma
