"""Addresses of transformers, on small models that the tests save themselves."""

import json

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from torch import nn

import modelgif as gif
from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.image_processor import measured_preprocessing
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.schemes.hf import HuggingFace


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("a test must not ask the network")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.fixture(scope="module")
def original():
    """A small residual classifier of five classes."""
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=5, layer_type="basic"
    )
    return transformers.ResNetForImageClassification(config).eval()


@pytest.fixture
def folder(original, tmp_path):
    path = tmp_path / "mine"
    original.save_pretrained(path)
    size = {"shortest_edge": 40}
    transformers.ConvNextImageProcessor(size=size, image_mean=[0.4, 0.5, 0.6]).save_pretrained(path)
    return path


@pytest.fixture
def images():
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_a_saved_classifier_is_loaded_with_its_preprocessing(folder, original, images):
    model = load_model(f"hf:{folder}")
    assert model.preprocessing == {"mean": [0.4, 0.5, 0.6], "std": [0.5] * 3, "size": [40, 40]}
    mean = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    expected = original(pixel_values=(images - mean) / 0.5).logits
    torch.testing.assert_close(model(images), expected)
    assert not any(module.training for module in model.modules())
    field = gif.gradient_field(model, images, n_steps=2, baseline=0.5)
    assert field.shape == (3, 2, 3, 40, 40)
    assert field.abs().amax((1, 2, 3, 4)).min() > 0


def test_a_backbone_gives_one_feature_map(folder, original, images):
    model = load_model(f"hf:{folder}?head=backbone")
    normalised = (images - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / 0.5
    states = original(pixel_values=normalised, output_hidden_states=True).hidden_states
    torch.testing.assert_close(model(images), states[-1])
    first = load_model(f"hf:{folder}?head=backbone&out_features=stage1")
    torch.testing.assert_close(first(images), states[1])
    field = gif.gradient_field(model, images[:1], n_steps=2, target="channel_peaks")
    assert field.shape == (1, 2, 3, 40, 40)
    with pytest.raises(ValueError, match=r"gives 2 feature maps: .*of stem, stage1, stage2"):
        load_model(f"hf:{folder}?head=backbone&out_features=stage1,stage2")


def test_a_repository_is_read_from_the_cache(folder, tmp_path, original):
    with pytest.raises(FileNotFoundError, match=r"me/mine is neither a folder .*hf.*download=True"):
        load_model("hf:me/mine")
    repository = tmp_path / "hf" / "models--me--mine"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots").mkdir()
    folder.rename(repository / "snapshots" / "abc")
    model = load_model("hf:me/mine")
    assert weights_sha256(model) == weights_sha256(HuggingFace(original))
    with pytest.raises(FileNotFoundError, match=r"me/mine .* at v2: .*download=True"):
        load_model("hf:me/mine?revision=v2")


def test_half_precision_is_computed_in_float32(folder, original, images):
    original.to(torch.bfloat16).save_pretrained(folder)
    model = load_model(f"hf:{folder}")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model(images).dtype == torch.float32
    kept = load_model(f"hf:{folder}", dtype=torch.bfloat16)
    assert {p.dtype for p in kept.parameters()} == {torch.bfloat16}
    original.float()


def test_no_code_of_a_repository_is_run(folder, tmp_path):
    touched = tmp_path / "touched"
    (folder / "evil.py").write_text(f"open({str(touched)!r}, 'w')\nclass Evil: ...\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="code that comes with a model is never run"):
        load_model(f"hf:{folder}")
    assert not touched.exists()


def test_no_compiled_kernels_of_a_repository_are_run(tmp_path):
    config = transformers.ViTConfig(
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"intermediate_size": 16, "image_size": 32, "patch_size": 8, "num_labels": 4},
    )
    network = transformers.ViTForImageClassification(config).eval()
    network.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    kernel = {"attn_implementation": "evil/kernel", "_attn_implementation": "evil/kernel"}
    (tmp_path / "config.json").write_text(json.dumps(content | kernel))
    # Left alone, transformers would fetch them: the package for it is not here, nor the network.
    with pytest.raises((ImportError, AssertionError), match="kernels|the network"):
        transformers.ViTForImageClassification.from_pretrained(tmp_path)
    model = load_model(f"hf:{tmp_path}?mean=0.5&std=0.5&size=32")
    images = torch.rand(2, 3, 32, 32)
    expected = network(pixel_values=(images - 0.5) / 0.5).logits
    torch.testing.assert_close(model(images), expected)


def test_pickled_weights_are_not_read(folder, original):
    (folder / "model.safetensors").unlink()
    torch.save(original.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(
        FileNotFoundError, match=r"no complete safetensors .*pickled ones are not read"
    ):
        load_model(f"hf:{folder}")


def test_a_head_that_was_not_trained_is_refused(folder, original):
    original.resnet.save_pretrained(folder)
    with pytest.raises(
        ValueError, match=r"no weights of classifier.1.bias, .*random.*head=backbone"
    ):
        load_model(f"hf:{folder}")
    assert load_model(f"hf:{folder}?head=backbone")(torch.rand(1, 3, 40, 40)).shape[1] == 16


def test_a_quantised_model_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match=r"is quantised, and integer arithmetic passes no gradient"
    ):
        load_model(f"hf:{folder}")


def test_without_an_image_processor_the_numbers_must_be_given(folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"cannot be used .*say mean=…&std=…&size=… instead"):
        load_model(f"hf:{folder}")
    model = load_model(f"hf:{folder}?mean=0&std=1&size=32")
    assert model.preprocessing == {"mean": [0.0], "std": [1.0], "size": [32, 32]}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("heads=backbone", "takes head, out_features, revision, mean.*'heads'.*mean head?"),
        ("head=both", "head must be classifier or backbone, got 'both'"),
        ("trust_remote_code=true", "got 'trust_remote_code'"),
    ],
)
def test_other_keys_are_refused(folder, query, message):
    with pytest.raises(ValueError, match=message):
        load_model(f"hf:{folder}?{query}")


def test_a_model_of_text_is_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="no image classifier of the type bert"):
        load_model(f"hf:{tmp_path / 'bert'}")


PROCESSORS = {
    "bit": lambda: transformers.BitImageProcessor(),
    "clip": lambda: transformers.CLIPImageProcessor(),
    "convnext": lambda: transformers.ConvNextImageProcessor(),
    "efficientnet": lambda: transformers.EfficientNetImageProcessor(
        size={"height": 224, "width": 224}, image_std=[0.47, 0.48, 0.49], rescale_offset=True
    ),
    "mobilevit": lambda: transformers.MobileViTImageProcessor(size={"shortest_edge": 288}),
    "siglip": lambda: transformers.SiglipImageProcessor(do_convert_rgb=False),
    "vit": lambda: transformers.ViTImageProcessor(do_normalize=False),
    "not resizing": lambda: transformers.ViTImageProcessor(do_resize=False),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_measured_numbers_do_what_the_processor_does(name):
    processor = PROCESSORS[name]()
    known, reversed_channels = measured_preprocessing(processor)
    size = known.get("size", [50, 50])
    random = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    # Of the right size already: the processors' own ways of resizing are left out.
    known_keys = {"do_resize", "do_center_crop"} & set(processor.to_dict())
    options = dict.fromkeys(known_keys, False)
    theirs = processor(random, return_tensors="pt", **options)["pixel_values"]
    model = Preprocessed(HuggingFace(_Identity(), reversed_channels=reversed_channels), **known)
    ours = model(torch.from_numpy(random).permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert reversed_channels == (name == "mobilevit")
    assert ("size" in known) == (name != "not resizing")


class _Identity(nn.Module):
    def forward(self, pixel_values):
        return transformers.modeling_outputs.ImageClassifierOutput(logits=pixel_values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: nn.functional.pad(x, (9, 9)), "plain image does not stay plain"),
        (lambda x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1), "mixes the channels"),
        (lambda x: x.square(), "not a rescaling"),
        (lambda x: 1 - x, "not a rescaling"),
        (lambda x: x[:, :1], r"expected \[4, 3, height, width\]"),
    ],
)
def test_a_processor_that_does_more_is_refused(change, message):
    def processor(images, return_tensors):
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
        return {"pixel_values": change(pixels)}

    with pytest.raises(ValueError, match=message):
        measured_preprocessing(processor)
