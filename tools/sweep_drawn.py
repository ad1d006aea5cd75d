# SPDX-License-Identifier: Apache-2.0
"""Models for tools/sweep.py that are drawn at random: half of them timm's, the rest transformers' with torchvision's, none of them in its catalogue.

A name says how the model is made: timm/NAME@SIZE, torchvision/NAME@SIZE, or transformers/TYPE, whose configuration is made small by every argument of SMALL that it has. Models that are too large
or do not run in eager are drawn again."""

import inspect
import random

import torch
from sweep_models import TIMM, TORCHVISION, TRANSFORMERS, settle, timm_model, torchvision_model

LARGEST = 15e6  # parameters
SIZES = (96, 224)  # the first that the model takes

SMALL = dict(
    hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=128, vocab_size=512, max_position_embeddings=128, head_dim=16, use_cache=False,
    pad_token_id=0, bos_token_id=1, eos_token_id=2, d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128,
    decoder_ffn_dim=128, decoder_start_token_id=2, n_layer=2, n_head=4, n_embd=64, num_layers=2, num_heads=4, d_ff=128, d_kv=16, dim=64, n_layers=2, n_heads=4, hidden_dim=128, ffn_dim=128,
    image_size=64, patch_size=16, num_encoder_layers=2, num_decoder_layers=2, rotary_dim=8, emb_dim=64, moe_intermediate_size=64, num_experts=4, num_local_experts=4, num_experts_per_tok=2,
    mask_time_prob=0.0, layerdrop=0.0, attention_window=8, sliding_window=8,
)  # fmt: skip


def draw(seed, count):
    """`count` names, always the same ones for a seed and the installed versions."""
    import timm
    import torchvision
    import transformers

    choose = random.Random(seed)
    images = {f"timm/{n}" for n in timm.list_models() if n not in TIMM}
    others = {f"torchvision/{n}" for n in torchvision.models.list_models(module=torchvision.models) if n not in TORCHVISION}
    texts = {f"transformers/{n}" for n in transformers.CONFIG_MAPPING if n not in TRANSFORMERS and _small_config(n) is not None}
    drawn = []
    for names, wanted in ((images, count // 2), (others, count // 8), (texts, count - count // 2 - count // 8)):
        candidates = sorted(names)
        choose.shuffle(candidates)
        usable = (name for name in map(_usable, candidates) if name)
        drawn += [name for _, name in zip(range(wanted), usable, strict=False)]
    return drawn


def make(name):
    """(module in eval mode, args, kwargs)"""
    model, args, kwargs = _made(name)
    return settle(model.eval(), args, kwargs), args, kwargs


def _made(name):
    library, _, leaf = name.partition("/")
    if library == "transformers":
        return _of_transformers(leaf)
    leaf, _, size = leaf.partition("@")
    model, args = (timm_model if library == "timm" else torchvision_model)(leaf, int(size))
    return model, args, {}


def _usable(name):
    """The name with which the model can be made and run; None: it cannot."""
    if name.startswith("transformers/"):
        return name if _runs(name) else None
    return next((sized for sized in (f"{name}@{size}" for size in SIZES) if _runs(sized)), None)


def _runs(name):
    try:
        with torch.device("meta"):
            if sum(p.numel() for p in _made(name)[0].parameters()) > LARGEST:
                return False
        model, args, kwargs = make(name)
        with torch.no_grad():
            leaves = torch.utils._pytree.tree_leaves(model(*args, **kwargs))
        return all(bool(t.isfinite().all()) for t in leaves if isinstance(t, torch.Tensor))
    except Exception:  # whatever a model raises: it is no candidate
        return False


def _small_config(kind):
    """None for models with parts, whose configurations hold others."""
    import transformers

    made = transformers.CONFIG_MAPPING[kind]
    if made not in transformers.MODEL_MAPPING or getattr(made, "sub_configs", None):
        return None
    arguments = inspect.signature(made.__init__).parameters
    return {name: value for name, value in SMALL.items() if name in arguments}


def _of_transformers(kind):
    import transformers

    made = transformers.CONFIG_MAPPING[kind]
    config = made(**_small_config(kind))
    model = transformers.MODEL_MAPPING[made](config)
    ids = torch.randint(3, min(getattr(config, "vocab_size", 500), 500), (2, 16))
    inputs = {"input_ids": ids, "pixel_values": torch.randn(1, 3, 64, 64), "input_values": torch.randn(1, 1600)}[model.main_input_name]
    kwargs = {model.main_input_name: inputs}
    if model.main_input_name == "input_ids" and config.is_encoder_decoder:
        kwargs["decoder_input_ids"] = ids[:, :7]
    return model, (), kwargs
