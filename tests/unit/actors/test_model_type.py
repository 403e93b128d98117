"""Models are told apart by what decides in their configuration, their tensors' names, and what the installed libraries know."""

import pytest

from actors.catalog.libraries import Libraries
from actors.catalog.model_type import Evidence, model_type
from actors.catalog.reasons import Reason, UnservableError

TEXT = ("model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight", "lm_head.weight")
VISION = ("language_model.model.layers.0.self_attn.q_proj.weight", "vision_tower.encoder.layers.0.attn.q_proj.weight")
QWEN_VISION = ("language_model.model.layers.0.mlp.gate_proj.weight", "visual.blocks.0.attn.qkv.weight")
VISION_CONFIG = {"vision_config": {"hidden_size": 1152}}


def shape(model_type, architecture=None, **more):
    return {"model_type": model_type, **({"architectures": [architecture]} if architecture else {}), **more}


# Folder, what decides in the real config.json, tensors, sentence-transformers modules, type.
MODELS = [
    ("Llama-3.2-3B-Instruct-4bit", shape("llama", "LlamaForCausalLM"), TEXT, (), "llm"),
    ("Mistral-7B-Instruct-v0.3-4bit", shape("mistral", "MistralForCausalLM"), TEXT, (), "llm"),
    ("Mixtral-8x7B-Instruct-v0.1-4bit", shape("mixtral", "MixtralForCausalLM"), TEXT, (), "llm"),
    ("Qwen2.5-7B-Instruct-4bit", shape("qwen2", "Qwen2ForCausalLM"), TEXT, (), "llm"),
    ("Qwen3-8B-4bit", shape("qwen3", "Qwen3ForCausalLM"), TEXT, (), "llm"),
    ("Qwen3-30B-A3B-4bit", shape("qwen3_moe", "Qwen3MoeForCausalLM"), TEXT, (), "llm"),
    ("Qwen3-Next-80B-A3B-Instruct-4bit", shape("qwen3_next", "Qwen3NextForCausalLM"), TEXT, (), "llm"),
    ("DeepSeek-V3-0324-4bit", shape("deepseek_v3", "DeepseekV3ForCausalLM", auto_map={"AutoModel": "m.M"}), TEXT, (), "llm"),
    ("DeepSeek-V2-Lite-Chat-4bit", shape("deepseek_v2", "DeepseekV2ForCausalLM"), TEXT, (), "llm"),
    ("Kimi-K2-Instruct-4bit", shape("kimi_k2", "DeepseekV3ForCausalLM"), TEXT, (), "llm"),
    ("gpt-oss-20b-MXFP4-Q8", shape("gpt_oss", "GptOssForCausalLM"), TEXT, (), "llm"),
    ("gemma-2-9b-it-4bit", shape("gemma2", "Gemma2ForCausalLM"), TEXT, (), "llm"),
    ("gemma-3-1b-it-4bit", shape("gemma3_text", "Gemma3ForCausalLM"), TEXT, (), "llm"),
    ("Phi-3.5-mini-instruct-4bit", shape("phi3", "Phi3ForCausalLM"), TEXT, (), "llm"),
    ("phi-2", shape("phi-msft", "PhiForCausalLM"), TEXT, (), "llm"),
    ("GLM-4.5-Air-4bit", shape("glm4_moe", "Glm4MoeForCausalLM"), TEXT, (), "llm"),
    ("MiniMax-M2-4bit", shape("minimax_m2", "MiniMaxM2ForCausalLM"), TEXT, (), "llm"),
    ("Ling-3.0-flash", shape("bailing_hybrid", "BailingMoeV3ForCausalLM"), TEXT, (), "llm"),
    ("SmolLM3-3B-4bit", shape("smollm3", "SmolLM3ForCausalLM"), TEXT, (), "llm"),
    ("granite-4.0-h-tiny-4bit", shape("granitemoehybrid", "GraniteMoeHybridForCausalLM"), TEXT, (), "llm"),
    ("falcon-mamba-7b", shape("falcon_mamba", "FalconMambaForCausalLM"), TEXT, (), "llm"),
    ("LFM2-1.2B-4bit", shape("lfm2", "Lfm2ForCausalLM"), TEXT, (), "llm"),
    ("gpt2", shape("gpt2", "GPT2LMHeadModel"), ("h.0.attn.c_attn.weight",), (), "llm"),
    ("Ministral-3-3B-text", shape("ministral3", "Ministral3ForCausalLM"), TEXT, (), "llm"),
    ("NVIDIA-Nemotron-Nano-9B-v2-4bits", shape("nemotron_h", "NemotronHForCausalLM"), TEXT, (), "llm"),
    ("IQuest-Coder-V1", shape("iquestcoder", "IQuestCoderForCausalLM"), TEXT, (), "llm"),
    ("something-of-its-own", shape("brand_new", model_file="brand_new.py"), TEXT, (), "llm"),
    ("Hy-V4", shape("hy_v4", "HyV4ForCausalLM"), TEXT, (), "llm"),  # which mlx-vlm alone runs
    # A multimodal architecture's text alone.
    ("Qwen3.5-9B-text-4bit", shape("qwen3_5", "Qwen3_5ForConditionalGeneration", **VISION_CONFIG), TEXT, (), "llm"),
    ("gemma-3-4b-it-text", shape("gemma3", "Gemma3ForConditionalGeneration", **VISION_CONFIG), TEXT, (), "llm"),
    ("Mistral-Small-3.1-text", shape("mistral3", "Mistral3ForConditionalGeneration", **VISION_CONFIG), TEXT, (), "llm"),
    ("Qwen2.5-VL-text", shape("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", **VISION_CONFIG), TEXT, (), "llm"),
    # Vision.
    ("Qwen3.5-9B-4bit", shape("qwen3_5", "Qwen3_5ForConditionalGeneration", **VISION_CONFIG), QWEN_VISION, (), "vlm"),
    ("Qwen3.5-35B-A3B-4bit", shape("qwen3_5_moe", "Qwen3_5MoeForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("Qwen2-VL-7B-Instruct-4bit", shape("qwen2_vl", "Qwen2VLForConditionalGeneration", **VISION_CONFIG), QWEN_VISION, (), "vlm"),
    ("Qwen2.5-VL-7B-4bit", shape("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("Qwen3-VL-4B-Instruct-4bit", shape("qwen3_vl", "Qwen3VLForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("GLM-4.6V-Flash-4bit", shape("glm4v", "Glm4vForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("GLM-4.5V-4bit", shape("glm4v_moe", "Glm4vMoeForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("pixtral-12b-4bit", shape("pixtral", "LlavaForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("llava-1.5-7b-4bit", shape("llava", "LlavaForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("gemma-3-4b-it-4bit", shape("gemma3", "Gemma3ForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("gemma-3n-E2B-it-4bit", shape("gemma3n", "Gemma3nForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("Mistral-Small-3.2-24B-4bit", shape("mistral3", "Mistral3ForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("Phi-3.5-vision-instruct-4bit", shape("phi3_v", "Phi3VForCausalLM"), ("model.vision_embed_tokens.wte.weight",), (), "vlm"),
    ("SmolVLM-Instruct-4bit", shape("idefics3", "Idefics3ForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("InternVL3-8B-4bit", shape("internvl_chat", "InternVLChatModel", **VISION_CONFIG), VISION, (), "vlm"),
    ("paligemma-3b-mix-448", shape("paligemma", "PaliGemmaForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("Llama-3.2-11B-Vision-4bit", shape("mllama", "MllamaForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("FastVLM-0.5B", shape("llava_qwen2", "LlavaQwen2ForCausalLM", mm_vision_tower="mobileclip"), VISION, (), "vlm"),
    ("LFM2-VL-1.6B-4bit", shape("lfm2-vl", "Lfm2VlForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    ("Kimi-VL-A3B-4bit", shape("kimi_vl", "KimiVLForConditionalGeneration", **VISION_CONFIG), VISION, (), "vlm"),
    # Where no tensor is known, the configuration decides.
    ("Qwen3.5-4B", shape("qwen3_5", "Qwen3_5ForConditionalGeneration", **VISION_CONFIG), (), (), "vlm"),
    # OCR.
    ("DeepSeek-OCR-8bit", shape("deepseekocr", "DeepseekOCRForCausalLM", **VISION_CONFIG), VISION, (), "ocr"),
    ("DeepSeek-OCR", shape("deepseek_vl_v2", "DeepseekOCRForCausalLM", **VISION_CONFIG), VISION, (), "ocr"),
    ("DeepSeek-OCR-2", shape("deepseekocr_2", "DeepseekOCR2ForCausalLM", **VISION_CONFIG), VISION, (), "ocr"),
    ("dots.ocr-4bit", shape("dots_ocr", "DotsOCRForCausalLM", **VISION_CONFIG), VISION, (), "ocr"),
    ("GLM-OCR-8bit", shape("glm_ocr", "GlmOcrForConditionalGeneration", **VISION_CONFIG), VISION, (), "ocr"),
    ("PaddleOCR-VL-4bit", shape("paddleocr_vl", "PaddleOCRVLForConditionalGeneration", **VISION_CONFIG), VISION, (), "ocr"),
    ("LightOnOCR-1B", shape("mistral3", "LightOnOCRForConditionalGeneration", **VISION_CONFIG), VISION, (), "ocr"),
    ("GOT-OCR2_0", shape("GOT", "GOTQwenForCausalLM"), VISION, (), "ocr"),
    # Embeddings.
    ("all-MiniLM-L6-v2", shape("bert", "BertModel"), ("encoder.layer.0.output.dense.weight",), ("Pooling",), "embedding"),
    ("bge-small-en-v1.5", shape("bert", "BertModel"), (), (), "embedding"),
    ("bge-m3-mlx-fp16", shape("xlm-roberta", "XLMRobertaModel"), (), (), "embedding"),
    (
        "multilingual-e5-large",
        shape("xlm-roberta", "XLMRobertaModel"),
        (),
        ("sentence_transformers.models.Pooling",),
        "embedding",
    ),
    ("nomicai-modernbert-embed-base-4bit", shape("modernbert", "ModernBertModel"), (), (), "embedding"),
    ("ModernBERT-base", shape("modernbert", "ModernBertForMaskedLM"), (), (), "embedding"),
    ("Qwen3-Embedding-0.6B", shape("qwen3", "Qwen3ForCausalLM"), TEXT, ("sentence_transformers.models.Pooling",), "embedding"),
    ("Qwen3-Embedding-4B-4bit-DWQ", shape("qwen3", "Qwen3ForCausalLM"), TEXT, (), "embedding"),
    ("embeddinggemma-300m-4bit", shape("gemma3_text", "Gemma3TextModel", use_bidirectional_attention=True), (), (), "embedding"),
    ("LFM2-ColBERT-350M", shape("lfm2", "Lfm2Model"), (), (), "embedding"),
    ("Qwen3-VL-Embedding-2B", shape("qwen3_vl", "Qwen3VLForConditionalGeneration", **VISION_CONFIG), VISION, (), "embedding"),
    # Rerankers.
    ("bge-reranker-v2-m3", shape("xlm-roberta", "XLMRobertaForSequenceClassification", id2label={"0": "a"}), (), (), "reranker"),
    (
        "gte-reranker-modernbert-base",
        shape("modernbert", "ModernBertForSequenceClassification", num_labels=1),
        (),
        (),
        "reranker",
    ),
    ("ms-marco-MiniLM-L6-v2", shape("bert", "BertForSequenceClassification", id2label={"0": "a"}), (), (), "reranker"),
    ("Qwen3-Reranker-0.6B-4bit", shape("qwen3", "Qwen3ForCausalLM"), TEXT, (), "reranker"),
    ("renamed", shape("qwen3", "Qwen3ForCausalLM"), TEXT, ("sentence_transformers.cross_encoder.LogitScore",), "reranker"),
    ("Qwen3-VL-Reranker-2B", shape("qwen3_vl", "Qwen3VLForConditionalGeneration", **VISION_CONFIG), VISION, (), "reranker"),
]

REFUSED = [
    ("whisper-large-v3-mlx", shape("whisper", "WhisperForConditionalGeneration"), (), Reason.UNSUPPORTED),
    ("t5-base", shape("t5", "T5ForConditionalGeneration"), (), Reason.UNSUPPORTED),
    ("distilbert-base", shape("distilbert", "DistilBertForMaskedLM"), (), Reason.UNSUPPORTED),
    ("cache", shape("cache"), (), Reason.UNSUPPORTED),  # a module of mlx-lm that is no model
    ("outside", shape("../../etc"), (), Reason.UNSUPPORTED),
    ("all-mpnet-base-v2", shape("mpnet", "MPNetModel"), ("sentence_transformers.models.Pooling",), Reason.UNSUPPORTED_EMBEDDING),
    (
        "sentiment",
        shape("bert", "BertForSequenceClassification", id2label={"0": "bad", "1": "good"}),
        (),
        Reason.UNSUPPORTED_TASK,
    ),
    ("reward", shape("llama", "LlamaForSequenceClassification", num_labels=1), (), Reason.UNSUPPORTED_TASK),
    ("ner", shape("bert", "BertForTokenClassification"), (), Reason.UNSUPPORTED_TASK),
    ("rf-detr", shape("rf-detr", "RFDetrForObjectDetection"), (), Reason.UNSUPPORTED_TASK),
    ("sam3", shape("sam3_video", "Sam3VideoModel"), (), Reason.UNSUPPORTED_TASK),
    ("Qwen3-8B-DFlash", shape("qwen3", "DFlashDraftModel", dflash_config={"block_size": 16}), (), Reason.DRAFT),
    ("Qwen3.5-MTP", shape("qwen3_5_mtp"), (), Reason.DRAFT),
]


@pytest.mark.parametrize(("name", "config", "tensors", "modules", "expected"), MODELS, ids=[each[0] for each in MODELS])
def test_a_model_is_of_the_type_that_its_files_tell(name, config, tensors, modules, expected):
    assert model_type(Evidence(name, config, tensors, modules), Libraries.installed()) == expected


@pytest.mark.parametrize(("name", "config", "modules", "reason"), REFUSED, ids=[each[0] for each in REFUSED])
def test_what_nothing_here_can_serve_is_refused_naming_its_type(name, config, modules, reason):
    with pytest.raises(UnservableError) as raised:
        model_type(Evidence(name, config, (), modules), Libraries.installed())
    assert raised.value.reason is reason
    assert config["model_type"] in str(raised.value) or reason is Reason.DRAFT
