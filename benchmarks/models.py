# SPDX-License-Identifier: Apache-2.0
"""The models of the demo, the tests and the benchmarks, with random weights: name -> (module, example inputs)."""

import torch


class OneOutput(torch.nn.Module):
    """A transformers model reduced to one output tensor."""

    def __init__(self, model, key):
        super().__init__()
        self.model, self.key = model, key

    def forward(self, ids):
        return getattr(self.model(ids), self.key)


def _ids(batch, length, vocabulary):
    return (torch.randint(0, vocabulary, (batch, length)),)


def vision(name, batch=1, size=224):
    import torchvision

    arguments = {"init_weights": False, "aux_logits": True} if name == "inception_v3" else {}
    model = getattr(torchvision.models, name)(weights=None, **arguments)
    return model.eval(), (torch.randn(batch, 3, size, size),)


def bert(batch=1, length=128, **config):
    from transformers import BertConfig, BertModel

    c = BertConfig(**config)
    return OneOutput(BertModel(c, add_pooling_layer=False).eval(), "last_hidden_state"), _ids(batch, length, c.vocab_size)


def roberta(batch=1, length=128, **config):
    from transformers import RobertaConfig, RobertaModel

    c = RobertaConfig(**{"vocab_size": 50265, "max_position_embeddings": 514, **config})
    return OneOutput(RobertaModel(c, add_pooling_layer=False).eval(), "last_hidden_state"), _ids(batch, length, 50000 if c.vocab_size > 50000 else c.vocab_size)


def gpt2(batch=1, length=128, **config):
    from transformers import GPT2Config, GPT2LMHeadModel

    c = GPT2Config(use_cache=False, **config)
    return OneOutput(GPT2LMHeadModel(c).eval(), "logits"), _ids(batch, length, c.vocab_size)


def llama(batch=1, length=128, **config):
    from transformers import LlamaConfig, LlamaForCausalLM

    small = dict(hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=2, vocab_size=4096)
    c = LlamaConfig(**{**small, **config}, use_cache=False, tie_word_embeddings=True)
    return OneOutput(LlamaForCausalLM(c).eval(), "logits"), _ids(batch, length, c.vocab_size)


VISION = {
    "resnet18": 224, "resnet50": 224, "mobilenet_v2": 224, "mobilenet_v3_large": 224, "efficientnet_b0": 224, "regnet_y_400mf": 224,
    "convnext_tiny": 224, "densenet121": 224, "inception_v3": 299, "vit_b_16": 224, "swin_t": 224,
}  # fmt: skip
LANGUAGE = {"bert": bert, "roberta": roberta, "gpt2": gpt2, "llama": llama}
TINY = dict(num_hidden_layers=2, hidden_size=64, num_attention_heads=4, intermediate_size=128, vocab_size=512)
TINY_CONFIG = {
    "bert": TINY,
    "roberta": TINY,
    "gpt2": dict(n_layer=2, n_embd=64, n_head=4, vocab_size=512),
    "llama": dict(num_hidden_layers=2, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=128, vocab_size=512),
}
ALL = [*VISION, *LANGUAGE]


def make(name, batch=1, length=128, tiny=False):
    """A module in eval mode and its example inputs. tiny: smaller images and transformer configurations, same operators."""
    if name in VISION:
        size = VISION[name] if not tiny else {"inception_v3": 139, "vit_b_16": 224}.get(name, 96)
        model, inputs = vision(name, batch, size)
    else:
        model, inputs = LANGUAGE[name](batch, min(length, 32) if tiny else length, **(TINY_CONFIG[name] if tiny else {}))
    return settle(model, inputs), inputs


def settle(model, inputs):
    """Gives BatchNorm layers real statistics and zero-initialized weights some values, so that random models behave like trained ones."""
    for p in model.parameters():
        if p.dim() > 1 and not p.any():
            torch.nn.init.trunc_normal_(p.data, std=0.02)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    if norms:
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for _ in range(2):
                batch = tuple(torch.randn((max(2, x.shape[0]), *x.shape[1:]), generator=generator) if x.is_floating_point() else x for x in inputs)
                model(*batch)
    return model.eval()
