# SPDX-License-Identifier: Apache-2.0
"""The catalogue of tools/sweep.py: name -> a function that makes (module in eval mode, args, kwargs), with random weights and small sizes."""

import copy

import torch

# timm: one small architecture per family -> image size
TIMM = {
    "beit_base_patch16_224": 224, "botnet26t_256": 256, "eca_halonext26ts": 256, "lambda_resnet26t": 256, "gernet_s": 96, "mobileone_s0": 96, "gcresnext26ts": 96,
    "cait_xxs24_224": 224, "coat_lite_tiny": 224, "convit_tiny": 224, "convmixer_768_32": 64, "convnext_atto": 96, "convnextv2_atto": 96, "crossvit_tiny_240": 240,
    "cs3darknet_focus_s": 96, "davit_tiny": 224, "deit_tiny_distilled_patch16_224": 224, "densenetblur121d": 96, "dla46_c": 96, "dpn48b": 96, "edgenext_xx_small": 128,
    "efficientformer_l1": 224, "efficientformerv2_s0": 224, "tf_efficientnetv2_b0": 96, "efficientvit_b0": 128, "efficientvit_m0": 224, "eva02_tiny_patch14_224": 224,
    "fastvit_t8": 128, "focalnet_tiny_srf": 224, "gcvit_xxtiny": 224, "ghostnet_050": 96, "hgnetv2_b0": 96, "hiera_tiny_224": 224, "hrnet_w18_small": 96,
    "inception_next_atto": 96, "inception_v4": 128, "levit_128s": 224, "mambaout_femto": 96, "coatnet_nano_rw_224": 224, "maxvit_pico_rw_256": 256, "caformer_s18": 96,
    "poolformer_s12": 96, "gmlp_ti16_224": 224, "mixer_s32_224": 224, "mobilenetv3_small_050": 96, "mobilenetv4_hybrid_medium": 128, "mobilevit_xxs": 128, "mobilevitv2_050": 128,
    "mvitv2_tiny": 224, "nasnetalarge": 96, "nest_tiny": 224, "dm_nfnet_f0": 96, "pit_ti_224": 224, "pvt_v2_b0": 96, "regnetx_002": 96, "repvit_m0_9": 96,
    "res2net50_14w_8s": 96, "resnest14d": 96, "resnet10t": 96, "resnetv2_50x1_bit": 96, "rexnet_100": 96, "selecsls42": 96, "legacy_seresnext26_32x4d": 96,
    "sequencer2d_s": 224, "shvit_s1": 128, "skresnet18": 96, "starnet_s1": 96, "swiftformer_xs": 224, "swin_tiny_patch4_window7_224": 224,
    "swinv2_tiny_window8_256": 256, "swinv2_cr_tiny_224": 224, "tiny_vit_5m_224": 224, "tnt_s_patch16_224": 224, "tresnet_m": 96, "twins_svt_small": 224, "visformer_tiny": 224,
    "test_vit": 160, "vit_small_patch14_dinov2": 518, "vit_small_patch16_dinov3": 224, "vit_relpos_small_patch16_224": 224, "samvit_base_patch16_224": 224, "vitamin_small_224": 224,
    "volo_d1_224": 224, "ese_vovnet19b_dw": 96, "xception41p": 96, "xcit_nano_12_p16_224": 224,
    "cpubone_b0_bfrobust": 128, "csatv2": 256, "cspnext_tiny": 96, "efficientvim_m1": 224, "fasternet_t0": 96, "hardcorenas_a": 96, "iformer_t": 224, "inception_resnet_v2": 139,
    "inception_v3": 139, "lcnetv2_small": 96, "legacy_xception": 96, "lowformer_b0": 128, "naflexvit_base_patch16_gap": 128, "nextvit_small": 224, "qwen3_vit_88m": 224, "rdnet_tiny": 96,
    "repghostnet_050": 96, "vit_base_mci_224": 224, "ecaresnet26t": 96, "bat_resnext26ts": 256, "resnetv2_18": 96, "lcnet_035": 96, "tresnet_v2_l": 96, "efficientnet_b0_gn": 96,
}  # fmt: skip

TORCHVISION = {
    "alexnet": 224, "vgg11_bn": 64, "googlenet": 96, "resnext50_32x4d": 96, "wide_resnet50_2": 64, "mnasnet0_5": 96, "shufflenet_v2_x0_5": 96, "squeezenet1_1": 96,
    "regnet_x_400mf": 96, "efficientnet_v2_s": 96, "mobilenet_v3_small": 96, "swin_v2_t": 128, "maxvit_t": 224, "vit_b_32": 224,
    "segmentation.fcn_resnet50": 64, "segmentation.deeplabv3_mobilenet_v3_large": 96, "segmentation.lraspp_mobilenet_v3_large": 96,
    "video.r2plus1d_18": 56, "video.s3d": 112, "video.swin3d_t": 64, "optical_flow.raft_small": 128,
}  # fmt: skip

_SMALL = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=512)
_DECODER = dict(**_SMALL, num_key_value_heads=2, max_position_embeddings=128, head_dim=16, use_cache=False, pad_token_id=0, bos_token_id=1, eos_token_id=2)
_SEQ2SEQ = dict(
    d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128,
    vocab_size=512, use_cache=False, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
)  # fmt: skip
_VIT = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, image_size=64, patch_size=16)
_STAGES = dict(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 96])
_MAMBA = dict(hidden_size=64, num_hidden_layers=2, vocab_size=512, state_size=8, use_cache=False, pad_token_id=0)
_T5 = dict(d_model=64, d_ff=128, d_kv=16, num_layers=2, num_heads=4, vocab_size=512, use_cache=False, decoder_start_token_id=0)
_AUDIO = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, conv_dim=(32, 32), conv_stride=(5, 4), conv_kernel=(10, 8),
              num_feat_extract_layers=2, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, vocab_size=32, mask_time_prob=0.0)  # fmt: skip
_CLIP = dict(
    text_config=dict(**_SMALL, max_position_embeddings=32, bos_token_id=1, eos_token_id=2, pad_token_id=0), vision_config=_VIT, projection_dim=32
)  # fmt: skip

# transformers: name -> (config class, model class, configuration, kind of inputs)
TRANSFORMERS = {
    "bert-mlm": ("BertConfig", "BertForMaskedLM", _SMALL, "ids mask"),
    "distilbert": ("DistilBertConfig", "DistilBertForSequenceClassification", dict(dim=64, n_layers=2, n_heads=4, hidden_dim=128, vocab_size=512), "ids mask"),
    "albert": ("AlbertConfig", "AlbertModel", dict(**_SMALL, embedding_size=32), "ids mask"),
    "electra": ("ElectraConfig", "ElectraForTokenClassification", dict(**_SMALL, embedding_size=32), "ids mask"),
    "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaModel", dict(**_SMALL, pad_token_id=1), "ids mask"),
    "deberta-v2": ("DebertaV2Config", "DebertaV2Model", dict(**_SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=16), "ids mask"),
    "mpnet": ("MPNetConfig", "MPNetModel", _SMALL, "ids mask"),
    "modernbert": ("ModernBertConfig", "ModernBertModel", dict(**_SMALL, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2), "ids mask"),
    "funnel": ("FunnelConfig", "FunnelModel", dict(vocab_size=512, block_sizes=[1, 1], d_model=64, n_head=4, d_head=16, d_inner=128, num_decoder_layers=1), "ids mask"),
    "longformer": ("LongformerConfig", "LongformerModel", dict(**_SMALL, attention_window=8, pad_token_id=1, max_position_embeddings=128), "ids mask"),
    "bigbird": ("BigBirdConfig", "BigBirdModel", dict(**_SMALL, attention_type="original_full", pad_token_id=0), "ids mask"),
    "xlnet": ("XLNetConfig", "XLNetModel", dict(vocab_size=512, d_model=64, n_layer=2, n_head=4, d_inner=128), "ids mask"),
    "fnet": ("FNetConfig", "FNetModel", dict(hidden_size=64, num_hidden_layers=2, intermediate_size=128, vocab_size=512), "ids"),
    "nystromformer": ("NystromformerConfig", "NystromformerModel", dict(**_SMALL, num_landmarks=4, segment_means_seq_len=16), "ids mask"),
    "gpt2-mask": ("GPT2Config", "GPT2LMHeadModel", dict(n_layer=2, n_embd=64, n_head=4, vocab_size=512, use_cache=False, bos_token_id=1, eos_token_id=2), "ids mask"),
    "gpt-neo": ("GPTNeoConfig", "GPTNeoForCausalLM", dict(hidden_size=64, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], vocab_size=512, use_cache=False, bos_token_id=1, eos_token_id=2), "ids mask"),
    "gptj": ("GPTJConfig", "GPTJForCausalLM", dict(n_layer=2, n_embd=64, n_head=4, rotary_dim=8, vocab_size=512, use_cache=False, bos_token_id=1, eos_token_id=2), "ids mask"),
    "gpt-neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", dict(**_SMALL, use_cache=False), "ids mask"),
    "gpt-bigcode": ("GPTBigCodeConfig", "GPTBigCodeForCausalLM", dict(n_layer=2, n_embd=64, n_head=4, vocab_size=512, use_cache=False, bos_token_id=1, eos_token_id=2), "ids mask"),
    "bloom": ("BloomConfig", "BloomForCausalLM", dict(hidden_size=64, n_layer=2, n_head=4, vocab_size=512, use_cache=False), "ids mask"),
    "opt": ("OPTConfig", "OPTForCausalLM", dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, ffn_dim=128, vocab_size=512, word_embed_proj_dim=64, use_cache=False), "ids mask"),
    "falcon": ("FalconConfig", "FalconForCausalLM", dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=512, use_cache=False), "ids mask"),
    "mpt": ("MptConfig", "MptForCausalLM", dict(d_model=64, n_heads=4, n_layers=2, vocab_size=512, use_cache=False), "ids mask"),
    "llama": ("LlamaConfig", "LlamaForCausalLM", _DECODER, "ids mask"),
    "llama-rope-scaled": ("LlamaConfig", "LlamaForCausalLM", dict(**_DECODER, rope_parameters=dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)), "ids"),
    "mistral": ("MistralConfig", "MistralForCausalLM", dict(**_DECODER, sliding_window=8), "ids mask"),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", dict(**_DECODER, num_local_experts=4, num_experts_per_tok=2), "ids"),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids mask"),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _DECODER, "ids mask"),
    "qwen3-moe": ("Qwen3MoeConfig", "Qwen3MoeForCausalLM", dict(**_DECODER, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32), "ids"),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", dict(**_DECODER, sliding_window=8, query_pre_attn_scalar=16), "ids mask"),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", dict(**_DECODER, sliding_window=8), "ids mask"),
    "phi": ("PhiConfig", "PhiForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids mask"),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids mask"),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids mask"),
    "cohere": ("CohereConfig", "CohereForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids"),
    "stablelm": ("StableLmConfig", "StableLmForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids"),
    "granite": ("GraniteConfig", "GraniteForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids"),
    "deepseek-v3": ("DeepseekV3Config", "DeepseekV3ForCausalLM", dict(hidden_size=64, intermediate_size=128, moe_intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1, first_k_dense_replace=1, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8, v_head_dim=16, qk_nope_head_dim=8, vocab_size=512, use_cache=False), "ids"),
    "mamba": ("MambaConfig", "MambaForCausalLM", _MAMBA, "ids"),
    "mamba2": ("Mamba2Config", "Mamba2ForCausalLM", dict(**_MAMBA, num_heads=8, head_dim=16, n_groups=1, chunk_size=8), "ids"),
    "roberta-prelayernorm": ("RobertaPreLayerNormConfig", "RobertaPreLayerNormModel", dict(**_SMALL, pad_token_id=1), "ids mask"),
    "deberta": ("DebertaConfig", "DebertaModel", dict(**_SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"]), "ids mask"),
    "squeezebert": ("SqueezeBertConfig", "SqueezeBertModel", dict(**_SMALL, embedding_size=64), "ids mask"),
    "mobilebert": ("MobileBertConfig", "MobileBertModel", dict(**_SMALL, embedding_size=32, intra_bottleneck_size=32, true_hidden_size=32), "ids mask"),
    "convbert": ("ConvBertConfig", "ConvBertModel", dict(**_SMALL, embedding_size=32), "ids mask"),
    "ibert": ("IBertConfig", "IBertModel", dict(**_SMALL, pad_token_id=1), "ids mask"),
    "canine": ("CanineConfig", "CanineModel", {**{k: v for k, v in _SMALL.items() if k != "vocab_size"}, "num_hash_buckets": 64, "local_transformer_stride": 8, "upsampling_kernel_size": 2}, "ids mask"),
    "codegen": ("CodeGenConfig", "CodeGenForCausalLM", dict(n_layer=2, n_embd=64, n_head=4, rotary_dim=8, vocab_size=512, use_cache=False), "ids mask"),
    "biogpt": ("BioGptConfig", "BioGptForCausalLM", dict(**_SMALL, use_cache=False), "ids mask"),
    "olmo": ("OlmoConfig", "OlmoForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids mask"),
    "starcoder2": ("Starcoder2Config", "Starcoder2ForCausalLM", {k: v for k, v in _DECODER.items() if k != "head_dim"}, "ids mask"),
    "nemotron": ("NemotronConfig", "NemotronForCausalLM", _DECODER, "ids mask"),
    "persimmon": ("PersimmonConfig", "PersimmonForCausalLM", dict(**_SMALL, use_cache=False), "ids mask"),
    "glm": ("GlmConfig", "GlmForCausalLM", _DECODER, "ids mask"),
    "helium": ("HeliumConfig", "HeliumForCausalLM", _DECODER, "ids mask"),
    "smollm3": ("SmolLM3Config", "SmolLM3ForCausalLM", _DECODER, "ids mask"),
    "cohere2": ("Cohere2Config", "Cohere2ForCausalLM", dict(**_DECODER, sliding_window=8), "ids mask"),
    "recurrent-gemma": ("RecurrentGemmaConfig", "RecurrentGemmaForCausalLM", dict(**{k: v for k, v in _DECODER.items() if k not in ("max_position_embeddings", "num_hidden_layers")}, num_hidden_layers=3, lru_width=64, attention_window_size=8), "ids"),
    "falcon-mamba": ("FalconMambaConfig", "FalconMambaForCausalLM", _MAMBA, "ids"),
    "gpt-oss": ("GptOssConfig", "GptOssForCausalLM", dict(**_DECODER, num_local_experts=4, num_experts_per_tok=2, sliding_window=8), "ids mask"),
    "prophetnet": ("ProphetNetConfig", "ProphetNetModel", dict(hidden_size=64, num_encoder_layers=1, num_decoder_layers=1, num_encoder_attention_heads=4, num_decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, vocab_size=512, use_cache=False), "ids mask decoder"),
    "led": ("LEDConfig", "LEDModel", dict(**_SEQ2SEQ, attention_window=8, max_encoder_position_embeddings=64, max_decoder_position_embeddings=64), "ids mask decoder"),
    "m2m100": ("M2M100Config", "M2M100Model", _SEQ2SEQ, "ids mask decoder"),
    "wavlm": ("WavLMConfig", "WavLMModel", _AUDIO, "audio"),
    "sew": ("SEWConfig", "SEWModel", {**_AUDIO, "squeeze_factor": 2}, "audio"),
    "efficientnet": ("EfficientNetConfig", "EfficientNetModel", dict(width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320), "image"),
    "poolformer": ("PoolFormerConfig", "PoolFormerModel", dict(hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1]), "image"),
    "pvt": ("PvtConfig", "PvtModel", dict(image_size=64, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 3, 4]), "image"),
    "focalnet": ("FocalNetConfig", "FocalNetModel", dict(image_size=64, embed_dim=24, depths=[1, 1], hidden_sizes=[24, 48], focal_levels=[2, 2], focal_windows=[3, 3]), "image"),
    "regnet": ("RegNetConfig", "RegNetModel", dict(embedding_size=16, hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 1, 1], groups_width=8), "image"),
    "glpn": ("GLPNConfig", "GLPNForDepthEstimation", dict(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 32, 64], decoder_hidden_size=16, num_attention_heads=[1, 2, 2, 4]), "image"),
    "mobilenet-v1": ("MobileNetV1Config", "MobileNetV1Model", dict(depth_multiplier=0.25), "image"),
    "dinov2-registers": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", {k: v for k, v in _VIT.items() if k != "intermediate_size"}, "image"),
    "groupvit-vision": ("GroupViTVisionConfig", "GroupViTVisionModel", dict(**{**_VIT, "num_hidden_layers": 4}, depths=[1, 1, 2], num_group_tokens=[16, 4, 0], num_output_groups=[16, 4, 0]), "image"),
    "patchtsmixer": ("PatchTSMixerConfig", "PatchTSMixerForPrediction", dict(num_input_channels=2, context_length=32, patch_length=8, patch_stride=8, prediction_length=8, d_model=16, num_layers=2), "series"),
    "rwkv": ("RwkvConfig", "RwkvModel", dict(hidden_size=64, num_hidden_layers=2, vocab_size=512, use_cache=False), "ids"),
    "t5": ("T5Config", "T5ForConditionalGeneration", _T5, "ids mask decoder"),
    "t5-encoder": ("T5Config", "T5EncoderModel", dict(**_T5, feed_forward_proj="gated-gelu"), "ids mask"),
    "bart": ("BartConfig", "BartForConditionalGeneration", _SEQ2SEQ, "ids mask decoder"),
    "marian": ("MarianConfig", "MarianMTModel", _SEQ2SEQ, "ids mask decoder"),
    "pegasus": ("PegasusConfig", "PegasusModel", _SEQ2SEQ, "ids mask decoder"),
    "whisper": ("WhisperConfig", "WhisperModel", dict(**_SEQ2SEQ, num_mel_bins=16, max_source_positions=32, max_target_positions=32), "mel decoder"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2ForCTC", _AUDIO, "audio"),
    "hubert": ("HubertConfig", "HubertModel", _AUDIO, "audio"),
    "ast": ("ASTConfig", "ASTModel", dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, max_length=64, num_mel_bins=32), "spectrum"),
    "vit": ("ViTConfig", "ViTForImageClassification", _VIT, "image"),
    "deit": ("DeiTConfig", "DeiTModel", _VIT, "image"),
    "dinov2": ("Dinov2Config", "Dinov2Model", {k: v for k, v in _VIT.items() if k != "intermediate_size"}, "image"),
    "swin": ("SwinConfig", "SwinModel", dict(image_size=64, patch_size=4, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4), "image"),
    "swinv2": ("Swinv2Config", "Swinv2Model", dict(image_size=64, patch_size=4, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4), "image"),
    "convnext": ("ConvNextConfig", "ConvNextModel", _STAGES, "image"),
    "convnextv2": ("ConvNextV2Config", "ConvNextV2Model", _STAGES, "image"),
    "segformer": ("SegformerConfig", "SegformerForSemanticSegmentation", dict(depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 32, 64], decoder_hidden_size=32, num_attention_heads=[1, 2, 2, 4]), "image"),
    "resnet": ("ResNetConfig", "ResNetModel", dict(embedding_size=16, hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 1, 1]), "image"),
    "mobilenet-v2": ("MobileNetV2Config", "MobileNetV2Model", dict(depth_multiplier=0.35), "image"),
    "mobilevit": ("MobileViTConfig", "MobileViTModel", dict(hidden_sizes=[32, 40, 48], neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 64], num_attention_heads=4), "image"),
    "beit": ("BeitConfig", "BeitModel", dict(**_VIT, use_relative_position_bias=True), "image"),
    "upernet-dpt": ("DPTConfig", "DPTForDepthEstimation", dict(**{**_VIT, "num_hidden_layers": 4}, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 32, 32], fusion_hidden_size=16), "image"),
    "detr": ("DetrConfig", "DetrForObjectDetection", dict(d_model=64, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128, decoder_ffn_dim=128, num_queries=8, use_timm_backbone=False, use_pretrained_backbone=False, backbone_config=None), "image"),
    "yolos": ("YolosConfig", "YolosForObjectDetection", {**_VIT, "image_size": [64, 64], "num_detection_tokens": 8, "use_mid_position_embeddings": False}, "image"),
    "clip": ("CLIPConfig", "CLIPModel", _CLIP, "clip"),
    "siglip-vision": ("SiglipVisionConfig", "SiglipVisionModel", _VIT, "image"),
    "vits-encoder": ("VitsConfig", "VitsModel", dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64, flow_size=32, spectrogram_bins=65, upsample_initial_channel=32), "ids"),
    "perceiver": ("PerceiverConfig", "PerceiverModel", dict(num_latents=8, d_latents=32, d_model=64, num_blocks=1, num_self_attends_per_block=2, num_self_attention_heads=4, num_cross_attention_heads=4), "floats"),
    "time-series": ("PatchTSTConfig", "PatchTSTForPrediction", dict(num_input_channels=2, context_length=32, patch_length=8, patch_stride=8, prediction_length=8, d_model=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64), "series"),
}  # fmt: skip


class _SmallUnet(torch.nn.Module):
    """A plain encoder-decoder with skip connections and transposed convolutions."""

    def __init__(self):
        super().__init__()
        n = torch.nn
        self.down1, self.down2 = n.Sequential(n.Conv2d(3, 16, 3, padding=1), n.InstanceNorm2d(16), n.LeakyReLU(0.1)), n.Conv2d(16, 32, 3, 2, 1)
        self.middle, self.up = n.Sequential(n.GroupNorm(4, 32), n.SiLU(), n.Conv2d(32, 32, 3, padding=2, dilation=2)), n.ConvTranspose2d(32, 16, 2, 2)
        self.out = n.Sequential(n.ReflectionPad2d(1), n.Conv2d(32, 2, 3))

    def forward(self, x):
        skip = self.down1(x)
        return {"mask": self.out(torch.cat([skip, self.up(self.middle(self.down2(skip)))], 1)).sigmoid()}


class _Recurrent(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.net = kind(16, 32, num_layers=2, batch_first=True, bidirectional=True)
        self.head = torch.nn.Linear(64, 4)

    def forward(self, x):
        y, _ = self.net(x)
        return self.head(y[:, -1])


def _torch_models():
    n = torch.nn
    return {
        "unet": lambda: (_SmallUnet(), (torch.randn(2, 3, 32, 32),)),
        "lstm": lambda: (_Recurrent(n.LSTM), (torch.randn(2, 7, 16),)),
        "gru": lambda: (_Recurrent(n.GRU), (torch.randn(2, 7, 16),)),
        "rnn": lambda: (_Recurrent(n.RNN), (torch.randn(2, 7, 16),)),
        "transformer": lambda: (n.Transformer(32, 4, 1, 1, 64, batch_first=True), (torch.randn(2, 9, 32), torch.randn(2, 5, 32))),
        "encoder-layer": lambda: (n.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True), (torch.randn(2, 9, 32),)),
        "multihead": lambda: (n.MultiheadAttention(32, 4), (torch.randn(5, 2, 32), torch.randn(5, 2, 32), torch.randn(5, 2, 32))),
        "bilinear": lambda: (n.Bilinear(8, 6, 5), (torch.randn(4, 8), torch.randn(4, 6))),
        "embedding-bag": lambda: (n.EmbeddingBag(32, 8, mode="mean"), (torch.randint(0, 32, (4, 6)),)),
    }


def _detection_backbone():
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    return resnet_fpn_backbone(backbone_name="resnet18", weights=None), (torch.randn(1, 3, 96, 96),)


def _ssd():
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).backbone, (torch.randn(1, 3, 128, 128),)


def _retinanet_head():
    from torchvision.models.detection.retinanet import RetinaNetHead

    head = RetinaNetHead(32, 3, 5)
    return head, ([torch.randn(1, 32, 12, 12), torch.randn(1, 32, 6, 6)],)


def timm_model(name, size):
    import timm

    return timm.create_model(name, pretrained=False), (torch.randn(1, 3, size, size),)


def torchvision_model(name, size):
    import torchvision

    module, _, leaf = name.rpartition(".")
    make = getattr(getattr(torchvision.models, module) if module else torchvision.models, leaf)
    extra = {"weights_backbone": None} if module == "segmentation" else {}
    extra |= {"init_weights": False} if name == "googlenet" else {}
    model = make(weights=None, **extra)
    if module == "video":
        return model, (torch.randn(1, 3, 8 if "swin" in name or "r2" in name else 16, size, size),)
    return model, (torch.randn(1, 3, size, size),) * (2 if module == "optical_flow" else 1)


def _hf_inputs(kind, config):
    ids = torch.randint(3, min(getattr(config, "vocab_size", 64), 500), (2, 16))
    mask = torch.ones_like(ids)
    mask[1, 11:] = 0
    made = {
        "ids": {"input_ids": ids}, "mask": {"attention_mask": mask}, "decoder": {"decoder_input_ids": ids[:, :7]}, "mel": {"input_features": torch.randn(1, 16, 64)},
        "audio": {"input_values": torch.randn(1, 1600)}, "spectrum": {"input_values": torch.randn(1, 64, 32)}, "image": {"pixel_values": torch.randn(1, 3, 64, 64)},
        "clip": {"input_ids": ids, "attention_mask": mask, "pixel_values": torch.randn(2, 3, 64, 64)}, "floats": {"inputs": torch.randn(1, 12, 64)},
        "series": {"past_values": torch.randn(2, 32, 2)},
    }  # fmt: skip
    out = {}
    for part in kind.split():
        out |= made[part]
    if "mel" in kind:
        out["decoder_input_ids"] = ids[:1, :7]
    return out


def _transformers(name):
    import transformers

    config_class, model_class, values, kind = TRANSFORMERS[name]
    values = copy.deepcopy(values)
    if name == "detr":
        values["backbone_config"] = transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 32, 64], depths=[1, 1, 1, 1], out_features=["stage4"])
    config = getattr(transformers, config_class)(**values)
    return getattr(transformers, model_class)(config), (), _hf_inputs(kind, config)


def settle(model, args, kwargs):
    """Real statistics for BatchNorm, so that random weights keep activations in range; weights for what starts at zero."""
    for p in model.parameters():
        if p.dim() > 1 and not p.any():
            torch.nn.init.trunc_normal_(p.data, std=0.02)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        m.momentum = None
        m.reset_running_stats()
        m.train()
    if norms:
        with torch.no_grad():
            model(*(torch.cat([a, torch.randn_like(a)]) if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args), **kwargs)
    return model.eval()


def catalogue():
    """name -> function that makes (model, args, kwargs)."""
    makers = {f"timm/{n}": lambda n=n, s=s: timm_model(n, s) for n, s in TIMM.items()}
    makers |= {f"torchvision/{n}": lambda n=n, s=s: torchvision_model(n, s) for n, s in TORCHVISION.items()}
    makers |= {"torchvision/resnet_fpn": _detection_backbone, "torchvision/ssdlite": _ssd, "torchvision/retinanet_head": _retinanet_head}
    makers |= {f"transformers/{n}": lambda n=n: _transformers(n) for n in TRANSFORMERS}
    makers |= {f"torch/{n}": make for n, make in _torch_models().items()}

    def finished(make):
        made = make()
        model, args, kwargs = made if len(made) == 3 else (*made, {})
        return settle(model.eval(), args, kwargs), args, kwargs

    return {name: lambda make=make: finished(make) for name, make in makers.items()}
