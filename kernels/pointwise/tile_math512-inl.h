// SPDX-License-Identifier: Apache-2.0
// f32 functions in AVX-512's own instructions: piecewise polynomials whose coefficients lie in registers (one permutation each), exponents by
// scalef and getexp. Included by tile_math-inl.h for that target only, inside its namespace.

/// Sixteen pieces over |x|: with s = scale * |x| + 0.5, four per octave of s in [0.5, 8). Rows: center of the piece, value there in two parts, then the
/// coefficients of (|x| - center)^k. The first four pieces hold f(x) / x, so that results are relative to x near zero. Column: bits 21..24 of s.
alignas(64) constexpr float kErfPieces[8][16] = {
    {0.93359375f, 1.20019531f, 1.46679688f, 1.73339844f, 2.13378906f, 2.66699219f, 3.20019531f, 3.73339844f, 0.033203125f, 0.099609375f, 0.166992188f,
     0.233398438f, 0.333007812f, 0.466796875f, 0.599609375f, 0.733398438f},
    {0.813265443f, 0.910366178f, 0.961954474f, 0.985769629f, 0.997452438f, 0.999837816f, 0.99999398f, 0.999999881f, 1.12796462f, 1.12465835f, 1.1179775f,
     1.10822034f, 0.36231938f, 0.49084273f, 0.603548527f, 0.700348973f},
    {-4.29754277e-09f, 7.75073339e-09f, 1.43861438e-08f, 2.54914188e-08f, -2.75003824e-08f, 1.84332585e-08f, -1.8892361e-09f, -1.03718421e-08f, 2.87776576e-08f,
     -3.31695631e-08f, 2.87237221e-08f, -4.31768399e-08f, 1.16674617e-08f, -2.37817677e-09f, -2.50784762e-08f, -1.06742499e-08f},
    {0.471981704f, 0.267219067f, 0.131242201f, 0.0559169352f, 0.0118873566f, 0.000919174287f, 4.02559999e-05f, 9.98813334e-07f, -0.0249606278f, -0.0744869262f,
     -0.123539262f, -0.169946074f, 1.00993705f, 0.907449722f, 0.787612438f, 0.658960938f},
    {-0.440638602f, -0.320718646f, -0.192509398f, -0.0969281271f, -0.0253600013f, -0.00244529685f, -0.000127794934f, -3.65902793e-06f, -0.375380486f,
     -0.369448423f, -0.35755676f, -0.340417981f, -0.336316377f, -0.423594117f, -0.472259283f, -0.483280569f},
    {0.116919778f, 0.16753906f, 0.144498199f, 0.0933707505f, 0.0321286134f, 0.00404904084f, 0.000260414323f, 8.85537884e-06f, 0.0149666276f, 0.0444306619f,
     0.0729076043f, 0.0987118557f, -0.261981428f, -0.170661509f, -0.0737567618f, 0.0166376773f},
    {0.0922168493f, 0.00689482503f, -0.0412534364f, -0.0483506024f, -0.0260118023f, -0.00480908807f, -0.000411919405f, -1.78741557e-05f, 0.112348691f,
     0.108832009f, 0.101841457f, 0.0919086188f, 0.155400917f, 0.18068403f, 0.179235622f, 0.154795408f},
    {-0.0689968765f, -0.0531280041f, -0.0189482998f, 0.00550195714f, 0.0121679381f, 0.00376238115f, 0.000428304978f, 2.27277687e-05f, -0.00533879455f,
     -0.015761666f, -0.0255710222f, -0.0340324193f, 0.057778161f, 0.0174176861f, -0.0208340101f, -0.0503165573f},
};
alignas(64) constexpr float kTanhPieces[8][16] = {
    {2.15429688f, 2.76953125f, 3.38476562f, 4.0f, 4.92285156f, 6.15429688f, 7.38476562f, 8.61523438f, 0.0771484375f, 0.23046875f, 0.384765625f, 0.538085938f,
     0.76953125f, 1.07714844f, 1.38476562f, 1.69238281f},
    {0.97345221f, 0.992170334f, 0.997706175f, 0.999329269f, 0.999894023f, 0.999991f, 0.999999225f, 0.99999994f, 0.998020768f, 0.982662976f, 0.953408897f,
     0.913492978f, 0.646656811f, 0.792139232f, 0.882013917f, 0.93445003f},
    {-1.77869008e-09f, 3.96974364e-09f, -1.18945653e-08f, 2.91452125e-08f, 1.62783138e-08f, -2.67651519e-08f, 4.35286429e-09f, -6.1619656e-09f,
     -1.70126082e-08f, -2.17464202e-09f, -3.64285824e-10f, 1.07863185e-09f, -1.26614799e-08f, 1.91978682e-08f, 2.82457382e-08f, 3.14258308e-09f},
    {0.0523907393f, 0.015598001f, 0.00458240649f, 0.00134095235f, 0.000211892417f, 1.8052524e-05f, 1.54088411e-06f, 1.31522086e-07f, -0.0511882789f,
     -0.147321671f, -0.228657976f, -0.288248211f, 0.581835032f, 0.37251541f, 0.222051397f, 0.12680313f},
    {-0.0509968176f, -0.0154730771f, -0.00457088882f, -0.00133974198f, -0.00021103039f, -1.79805811e-05f, -1.53475423e-06f, -1.30998956e-07f, -0.328599334f,
     -0.293035328f, -0.230829388f, -0.157093257f, -0.376248032f, -0.295090318f, -0.19585593f, -0.118492141f},
    {0.0321845636f, 0.0101545118f, 0.00303352671f, 0.00089203479f, 0.000140843244f, 1.20026534e-05f, 1.02451759e-06f, 8.74478232e-08f, 0.0406531282f,
     0.110463642f, 0.152856976f, 0.162669092f, 0.0493478663f, 0.109576374f, 0.0987298414f, 0.068457596f},
    {-0.014414669f, -0.00499416888f, -0.00153060991f, -0.000453405373f, -7.61876872e-05f, -6.49660842e-06f, -5.54563144e-07f, -4.73350106e-08f, 0.128114f,
     0.0941512808f, 0.0418047756f, -0.0076156999f, 0.0935543105f, 0.0122533115f, -0.0214092415f, -0.0243679844f},
    {0.00434013316f, 0.00185793021f, 0.000598550774f, 0.000179771101f, 3.00614065e-05f, 2.56568569e-06f, 2.19028763e-07f, 1.86954363e-08f, -0.0242881346f,
     -0.0606897846f, -0.0703191981f, -0.0556529053f, -0.0631408393f, -0.0374487527f, -0.00895047281f, 0.00276692468f},
};

HWY_INLINE hn::Vec<Df> pick(__m512i piece, const float* row) { return hn::Vec<Df>{_mm512_permutexvar_ps(piece, _mm512_load_ps(row))}; }

/// An odd function from its pieces; +-1 from `limit` on.
HWY_INLINE hn::Vec<Df> odd_pieces(Df d, hn::Vec<Df> x, const float (*pieces)[16], float scale, float limit) {
  using V = hn::Vec<Df>;
  const V a = hn::Abs(x), one = hn::Set(d, 1.0f);
  const V s = hn::MulAdd(a, hn::Set(d, scale), hn::Set(d, 0.5f));
  const __m512i piece = _mm512_srli_epi32(_mm512_castps_si512(s.raw), 21);
  const V t = hn::Sub(a, pick(piece, pieces[0]));
  V q = pick(piece, pieces[7]);
  for (int k = 6; k >= 3; --k) q = hn::MulAdd(q, t, pick(piece, pieces[k]));
  const V factor = hn::IfThenElse(hn::Lt(s, one), a, one);
  const V r = hn::MulAdd(factor, pick(piece, pieces[1]), hn::Mul(factor, hn::MulAdd(t, q, pick(piece, pieces[2]))));
  return hn::CopySign(hn::IfThenElse(hn::Ge(a, hn::Set(d, limit)), one, r), x);  // NaN stays: no comparison holds and t is NaN
}
HWY_INLINE hn::Vec<Df> erf_v(Df d, hn::Vec<Df> x) { return odd_pieces(d, x, kErfPieces, 1.875f, 3.92f); }
HWY_INLINE hn::Vec<Df> tanh_v(Df d, hn::Vec<Df> x) { return odd_pieces(d, x, kTanhPieces, 0.8125f, 9.02f); }

/// 2^n * v for integral n of any size.
HWY_INLINE hn::Vec<Df> scale_by_power(hn::Vec<Df> v, hn::Vec<Df> n) { return hn::Vec<Df>{_mm512_scalef_ps(v.raw, n.raw)}; }

/// Max and Min return their second argument when it is NaN.
HWY_INLINE hn::Vec<Df> exp_v(Df d, hn::Vec<Df> x) {
  const hn::Vec<Df> clamped = hn::Max(hn::Set(d, -104.0f), hn::Min(hn::Set(d, 89.0f), x));
  hn::Vec<Df> n;
  const auto p = exp_reduced(d, clamped, &n);
  return scale_by_power(hn::Add(p, hn::Set(d, 1.0f)), n);
}
/// As elsewhere, results below the normal range are zero: arithmetic with them would be a hundred times slower.
HWY_INLINE hn::Vec<Df> exp_negative(Df d, hn::Vec<Df> x) {
  hn::Vec<Df> n;
  const auto p = exp_reduced(d, hn::Max(hn::Set(d, -104.0f), x), &n);
  const __mmask16 kept = _mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ);  // NaN stays
  return hn::Vec<Df>{_mm512_maskz_scalef_ps(kept, hn::Add(p, hn::Set(d, 1.0f)).raw, n.raw)};
}

/// The bits of 2^(k/16), less k * 2^19: see exp_negated().
alignas(64) constexpr int32_t kRoots[16] = {0x3f800000, 0x3f7daac3, 0x3f7b95c2, 0x3f79c3d3, 0x3f7837f0, 0x3f76f532, 0x3f75fed7, 0x3f75583f,
                                            0x3f7504f3, 0x3f7508a4, 0x3f75672a, 0x3f76248c, 0x3f7744fd, 0x3f78ccdf, 0x3f7ac0c7, 0x3f7d257d};

/// e^-x of x within +-87, for any number. With n = -x / ln 2 rounded to sixteenths and e^-x = 2^n * e^-r, |r| <= ln(2) / 32, a cubic is enough. The
/// sixteenths are the last bits of a sum with a large number, which pick a root; what is above them goes to its exponent by a shift, the sixteenths end up
/// below the exponent, and the table makes up for them.
HWY_INLINE hn::Vec<Df> exp_negated(Df d, hn::Vec<Df> x) {
  using V = hn::Vec<Df>;
  const V clamped{_mm512_range_ps(x.raw, _mm512_set1_ps(87.0f), 2)};  // the smaller size, the sign of x
  const V large = hn::Set(d, 786432.0f);                              // 1.5 * 2^19
  const V sum = hn::NegMulAdd(clamped, hn::Set(d, 1.44269504f), large), n = hn::Sub(sum, large);
  V r = hn::MulAdd(n, hn::Set(d, 0.693145752f), clamped);
  r = hn::MulAdd(n, hn::Set(d, 1.42860677e-6f), r);
  const V q = hn::NegMulAdd(r, hn::Set(d, 1.66666667e-1f), hn::Set(d, 0.500016212f));
  const V p = hn::MulSub(hn::Mul(r, r), q, r);  // e^-r - 1
  const __m512i bits = _mm512_castps_si512(sum.raw);
  const __m512i root = _mm512_permutexvar_epi32(bits, _mm512_load_si512(kRoots));
  const V scale{_mm512_castsi512_ps(_mm512_add_epi32(root, _mm512_slli_epi32(bits, 19)))};
  return hn::MulAdd(scale, p, scale);
}

/// 1 / v for normal v, by an estimate of 14 bits and a correction, which doubles them.
HWY_INLINE hn::Vec<Df> reciprocal(Df d, hn::Vec<Df> v) {
  const hn::Vec<Df> one = hn::Set(d, 1.0f);
  const hn::Vec<Df> r{_mm512_rcp14_ps(v.raw)};
  return hn::MulAdd(r, hn::NegMulAdd(v, r, one), r);
}

/// Of numbers; results below the normal range are zero.
HWY_INLINE hn::Vec<Df> sigmoid_of_numbers(Df d, hn::Vec<Df> x) {
  const auto r = reciprocal(d, hn::Add(hn::Set(d, 1.0f), exp_negated(d, x)));
  return hn::Vec<Df>{_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ), r.raw)};
}
HWY_INLINE hn::Vec<Df> sigmoid_v(Df d, hn::Vec<Df> x) { return hn::IfThenElse(hn::IsNaN(x), x, sigmoid_of_numbers(d, x)); }
HWY_INLINE hn::Vec<Df> silu_v(Df d, hn::Vec<Df> x) { return hn::Mul(x, sigmoid_of_numbers(d, x)); }
/// For results of 16 bits: within 2^-13. As silu_v, with ln 2 in one part, a square instead of the cubic, and the estimate of the reciprocal.
HWY_INLINE hn::Vec<Df> silu_rough(Df d, hn::Vec<Df> x) {
  using V = hn::Vec<Df>;
  const V clamped{_mm512_range_ps(x.raw, _mm512_set1_ps(87.0f), 2)}, large = hn::Set(d, 786432.0f), one = hn::Set(d, 1.0f);
  const V sum = hn::NegMulAdd(clamped, hn::Set(d, 1.44269504f), large);
  const V r = hn::MulAdd(hn::Sub(sum, large), hn::Set(d, 0.693147181f), clamped);
  const V e = hn::MulAdd(hn::MulSub(r, hn::Set(d, 0.5f), one), r, one);
  const __m512i bits = _mm512_castps_si512(sum.raw), root = _mm512_permutexvar_epi32(bits, _mm512_load_si512(kRoots));
  const V scale{_mm512_castsi512_ps(_mm512_add_epi32(root, _mm512_slli_epi32(bits, 19)))};
  const __m512 gate = _mm512_maskz_rcp14_ps(_mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ), hn::MulAdd(scale, e, one).raw);
  return hn::Mul(x, V{gate});
}

/// x = 2^e * (1 + f), f in [-0.25, 0.5); zero and infinity keep their infinite exponents.
HWY_INLINE hn::Vec<Df> log_parts(Df d, hn::Vec<Df> x, hn::Vec<Df>* e) {
  const __m512 m = _mm512_getmant_ps(x.raw, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
  *e = hn::Vec<Df>{_mm512_sub_ps(_mm512_getexp_ps(x.raw), _mm512_getexp_ps(m))};
  return hn::Sub(hn::Vec<Df>{m}, hn::Set(d, 1.0f));
}
/// log(1 + f) - f for the f of log_parts.
HWY_INLINE hn::Vec<Df> log_tail(Df d, hn::Vec<Df> f) {
  const auto q = horner(d, f, hn::Set(d, 0.0439759009f), -0.0967565849f, 0.117014855f, -0.126285374f, 0.142653286f, -0.166611016f, 0.200002253f, -0.250000536f,
                        0.333333313f);
  const auto z = hn::Mul(f, f);
  return hn::MulAdd(z, hn::Set(d, -0.5f), hn::Mul(hn::Mul(f, z), q));
}
HWY_INLINE hn::Vec<Df> log_v(Df d, hn::Vec<Df> x) {
  hn::Vec<Df> e;
  const auto f = log_parts(d, x, &e);
  const auto low = hn::Add(f, hn::MulAdd(e, hn::Set(d, -2.12194440e-4f), log_tail(d, f)));
  // 2^e may be infinite: only one of the two parts of ln 2 may then meet it
  const auto r = hn::IfThenElse(hn::IsInf(e), e, hn::MulAdd(e, hn::Set(d, 0.693359375f), low));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::NaN(d), r);
}
HWY_INLINE hn::Vec<Df> log2_v(Df d, hn::Vec<Df> x) {
  hn::Vec<Df> e;
  const auto f = log_parts(d, x, &e);
  // log2(e) in two parts: f / ln 2 must not lose the last bits of f
  const auto high = hn::Set(d, 1.44269502f), low = hn::Set(d, 1.92596300e-8f);
  const auto r = hn::Add(e, hn::MulAdd(f, high, hn::MulAdd(f, low, hn::Mul(log_tail(d, f), high))));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::NaN(d), r);
}
HWY_INLINE hn::Vec<Df> log1p_v(Df d, hn::Vec<Df> x) {
  const auto u = hn::Add(hn::Set(d, 1.0f), x);
  const auto lost = hn::Div(hn::Sub(x, hn::Sub(u, hn::Set(d, 1.0f))), u);  // what rounding 1 + x lost, relative to u
  const auto finite = hn::And(hn::Gt(u, hn::Zero(d)), hn::Lt(u, hn::Inf(d)));
  const auto r = hn::Add(log_v(d, u), hn::IfThenElseZero(finite, lost));
  return hn::IfThenElse(hn::Eq(u, hn::Set(d, 1.0f)), x, r);
}

/// x^y of eight positive finite x and finite y: 2^(y * log2 x) in double, where the logarithm is good to 1e-11 and the power to 1e-9.
HWY_INLINE __m256 pow_half(__m256 x, __m256 y) {
  const __m512d xd = _mm512_cvtps_pd(x), one = _mm512_set1_pd(1.0);
  const __m512d m = _mm512_getmant_pd(xd, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
  const __m512d e = _mm512_sub_pd(_mm512_getexp_pd(xd), _mm512_getexp_pd(m));
  // log(m) = 2 atanh(s), |s| <= 1/5
  const __m512d s = _mm512_div_pd(_mm512_sub_pd(m, one), _mm512_add_pd(m, one)), z = _mm512_mul_pd(s, s);
  __m512d q = _mm512_set1_pd(1.0 / 15);
  for (double c : {1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0}) q = _mm512_fmadd_pd(q, z, _mm512_set1_pd(c));
  const __m512d log2x = _mm512_fmadd_pd(_mm512_mul_pd(s, q), _mm512_set1_pd(2.8853900817779268), e);
  const __m512d t = _mm512_mul_pd(_mm512_cvtps_pd(y), log2x);
  const __m512d n = _mm512_roundscale_pd(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512d r = _mm512_mul_pd(_mm512_sub_pd(t, n), _mm512_set1_pd(0.69314718055994531));
  __m512d p = _mm512_set1_pd(1.0 / 362880);
  for (double c : {1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0}) p = _mm512_fmadd_pd(p, r, _mm512_set1_pd(c));
  return _mm512_cvtpd_ps(_mm512_scalef_pd(p, n));
}

/// *ok: whether all lanes are such as pow_half takes.
HWY_INLINE hn::Vec<Df> pow_v(Df d, hn::Vec<Df> x, hn::Vec<Df> y, bool* ok) {
  const auto inf = hn::Inf(d);
  *ok = hn::AllTrue(d, hn::And(hn::And(hn::Gt(x, hn::Zero(d)), hn::Lt(x, inf)), hn::Lt(hn::Abs(y), inf)));
  const __m256 low = pow_half(_mm512_castps512_ps256(x.raw), _mm512_castps512_ps256(y.raw));
  const __m256 high = pow_half(_mm512_extractf32x8_ps(x.raw, 1), _mm512_extractf32x8_ps(y.raw, 1));
  return hn::Vec<Df>{_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)};
}
