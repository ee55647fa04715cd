"""Taskonomy's published encoders: names, missing files, reading, and the stages on them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modelgif.experiment.config import load_config
from modelgif.experiment.run import open_run
from modelgif.loading.errors import CheckpointError
from modelgif.references.file import read_references
from task_relatedness import extract_fields as stage
from task_relatedness.comparing.distance_files import read_distances
from task_relatedness.comparing.references import read_images, references_path
from task_relatedness.config import PublishedConfig, TaskRelatednessConfig
from task_relatedness.encoders import published_zoo
from task_relatedness.encoders.published_files import (
    check_published,
    published_file,
    published_files,
)
from task_relatedness.encoders.published_zoo import load_published
from task_relatedness.extract_fields import extract_fields
from task_relatedness.learning.taskonomy_networks import Decoder, Encoder
from task_relatedness.tasks import TASK_NAMES
from task_relatedness.train import train
from task_relatedness.transfer import transfer

PAPER = "task_relatedness/configs/paper.yaml"
WIDTH = 4


def network(seed):
    torch.manual_seed(seed)
    return lively(Encoder(WIDTH))


def lively(encoder):
    """Statistics as after a training, without which a deep network tells images apart hardly."""
    encoder.train()
    with torch.no_grad():
        for _ in range(30):
            encoder(2 * torch.rand(8, 3, 32, 32) - 1)
    return encoder.eval()


def write(root, task, state):
    path = published_file(root, task)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The published files hold more than weights.
    torch.save({"state_dict": state, "epoch": 7, "arch": "encoder", "best": 0.5}, path)


def photographs(folder, count, size=(40, 48)):
    generator = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"building_{i % 2}" / f"point_{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def test_every_task_has_a_published_encoder():
    files = published_files()
    assert tuple(files) == TASK_NAMES
    for task, url in files.items():
        assert re.fullmatch(rf"https://github\.com/\S+/{task}_encoder-[0-9a-f]{{64}}\.pth", url), (
            url
        )
        assert url.endswith(f"/{published_file(Path('x'), task).name}")


def test_missing_files_are_named_once_with_the_way_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        check_published(tmp_path, TASK_NAMES)
    message = str(caught.value)
    assert message.startswith(f"17 of the 17 published encoders are not in {tmp_path}. Download")
    assert all(message.count(url) == 1 for url in published_files().values())
    assert message.count(str(tmp_path)) == 1
    for task in TASK_NAMES[1:]:
        published_file(tmp_path, task).touch()
    with pytest.raises(
        FileNotFoundError, match=r"^1 of the 17(.|\n)*/autoencoding_encoder-"
    ) as one:
        check_published(tmp_path, TASK_NAMES)
    assert str(one.value).count("https://") == 1
    check_published(tmp_path, TASK_NAMES[1:])


@pytest.mark.parametrize("prefix", ["", "encoder.", "module."])
@pytest.mark.parametrize("counted", [True, False])
def test_an_encoder_is_read_as_it_was_saved(tmp_path, prefix, counted):
    encoder = network(1)
    state = {
        prefix + name: tensor
        for name, tensor in encoder.state_dict().items()
        if counted or not name.endswith("num_batches_tracked")
    }
    if prefix == "encoder.":
        decoder = Decoder(2, width=4).state_dict()
        state |= {f"decoder.{name}": tensor for name, tensor in decoder.items()}
    write(tmp_path, "normal", state)
    model = load_published(tmp_path, "normal", width=WIDTH)
    images = torch.rand(3, 3, 48, 32)
    with torch.no_grad():
        expected = encoder(2 * images - 1)
        torch.testing.assert_close(model(images), expected)
    assert expected.std() > 0.1
    assert not model.training


def test_another_network_is_refused(tmp_path):
    write(tmp_path, "normal", Decoder(2, width=4).state_dict())
    with pytest.raises(CheckpointError, match=r"another architecture: \d+ names are missing"):
        load_published(tmp_path, "normal", width=WIDTH)
    write(tmp_path, "normal", network(0).state_dict())
    with pytest.raises(CheckpointError, match=r"conv1\.weight is \[4, 3, 7, 7\] in the file and"):
        load_published(tmp_path, "normal", width=8)
    renamed = {
        name.replace("compress", "squeeze"): t for name, t in network(0).state_dict().items()
    }
    write(tmp_path, "normal", renamed)
    with pytest.raises(CheckpointError, match=r"compress1\.weight"):
        load_published(tmp_path, "normal", width=WIDTH)
    torch.save({"state_dict": network(0)}, published_file(tmp_path, "normal"))
    with pytest.raises(CheckpointError, match="whole pickled module can run any code"):
        load_published(tmp_path, "normal", width=WIDTH)
    with pytest.raises(CheckpointError, match="there is no file"):
        load_published(tmp_path, "reshading")


def test_images_are_drawn_from_a_folder_and_all_below_it(tmp_path):
    photographs(tmp_path, 7)
    (tmp_path / "notes.txt").write_text("no image")
    config = PublishedConfig(root="none", images=str(tmp_path), size=32, n_references=5)
    found = read_images(config, generator=torch.Generator().manual_seed(3))
    assert found.images.shape == (5, 3, 32, 32)
    assert len(set(found.ids)) == 5
    again = read_images(config, generator=torch.Generator().manual_seed(3))
    assert again.ids == found.ids
    assert torch.equal(again.images, found.images)
    other = read_images(config, generator=torch.Generator().manual_seed(4))
    assert other.ids != found.ids
    with Image.open(tmp_path / found.ids[0]) as image:
        shown = image.convert("RGB").resize((38, 32), Image.Resampling.BILINEAR)
    middle = np.asarray(shown).transpose(2, 0, 1)[:, :, 3:35] / 255
    assert np.abs(found.images[0].numpy() - middle).mean() < 0.02
    with pytest.raises(ValueError, match=r"n_references is 8, and \S+ has 7 files"):
        read_images(config.model_copy(update={"n_references": 8}), generator=torch.Generator())
    nowhere = config.model_copy(update={"images": str(tmp_path / "nowhere")})
    with pytest.raises(FileNotFoundError, match="published.images must be a folder"):
        read_images(nowhere, generator=torch.Generator())


def test_the_paper_s_settings():
    config = load_config(TaskRelatednessConfig, PAPER)
    assert config.tasks == TASK_NAMES
    assert (config.published.size, config.published.n_references) == (128, 1000)
    measure = config.measure
    assert set(measure.references) == {"cutmix", "plain", "adversarial"}
    assert set(measure.baselines) == {"zero", "reference"}
    assert measure.targets == ("channel_peaks",)
    assert measure.average_channels
    assert published_zoo.WIDTH == 64


def opened(tmp_path, *overrides):
    config = load_config(
        TaskRelatednessConfig,
        PAPER,
        [
            *(f"published.root={tmp_path / 'zoo'}", f"published.images={tmp_path / 'rgb'}"),
            *("device=cpu", *overrides),
        ],
    )
    return open_run(config, testbed="task_relatedness", name="paper", root=tmp_path / "runs")


def test_the_stage_stops_at_missing_files_before_it_reads_any(tmp_path):
    with pytest.raises(FileNotFoundError, match="17 of the 17 published encoders"):
        extract_fields(opened(tmp_path))


def test_the_stages_take_published_encoders(tmp_path, monkeypatch):
    """Narrow encoders under the published names go through the stages up to the distances."""
    monkeypatch.setattr(published_zoo, "WIDTH", WIDTH)
    monkeypatch.setattr(stage, "workers_on", lambda device: 1)
    tasks = ("autoencoding", "edge_texture", "normal", "class_object")
    for seed, task in enumerate(tasks):
        write(tmp_path / "zoo", task, network(seed).state_dict())
    photographs(tmp_path / "rgb", 6)
    run = opened(
        *(tmp_path, f"tasks=[{','.join(tasks)}]", "published.size=32", "published.n_references=4"),
        *("measure.n_steps=2", "measure.baselines=[zero]", "measure.rivals=[rsa,saliency]"),
    )
    train(run)
    transfer(run)
    extract_fields(run)
    found = read_distances(run)
    assert list(found) == [
        *("modelgif[cutmix,channel_peaks,zero]", "modelgif[plain,channel_peaks,zero]"),
        *("modelgif[adversarial,channel_peaks,zero]", "rsa[cutmix]", "rsa[plain]"),
        *("rsa[adversarial]", "saliency[cutmix,channel_peaks]", "saliency[plain,channel_peaks]"),
        "saliency[adversarial,channel_peaks]",
    ]
    for distances in found.values():
        assert distances.tasks == tasks
        assert distances.matrix[np.triu_indices(4, 1)].min() > 0.01
    plain = read_references(references_path(run, "plain"))
    assert plain.ids[0].startswith("building_")
    moved = read_references(references_path(run, "adversarial")).images - plain.images
    assert 0.02 < moved.abs().max() <= 8 / 255 + 1e-6
