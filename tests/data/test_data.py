import gzip
import hashlib
import math
import pickle
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10

from modelgif.data import data as data_module
from modelgif.data.data import DEBIAN_FASHION_MNIST, ImageData, load_cifar, load_data
from modelgif.experiment.config import DataConfig, DataName


def image_data(**changes) -> ImageData:
    parts = {
        "name": "made",
        "train_images": torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1).expand(3, 2, 1, 1),
        "train_labels": torch.tensor([0, 1, 0]),
        "test_images": torch.zeros(1, 2, 1, 1),
        "test_labels": torch.tensor([1]),
        "classes": ("cat", "dog"),
    }
    return ImageData(**(parts | changes))


def test_mean_per_channel():
    images = torch.rand(50, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mean = image_data(
        train_images=images, train_labels=torch.arange(50) % 2, test_images=images[:1]
    ).mean
    assert mean.shape == (1, 3, 1, 1)
    expected = [images[:, c].double().sum().item() / 1000 for c in range(3)]
    torch.testing.assert_close(mean.flatten(), torch.tensor(expected))


@pytest.mark.parametrize(
    "change",
    [
        {"train_images": torch.tensor([0.0, 0.5, 0.9]).reshape(3, 1, 1, 1).expand(3, 2, 1, 1)},
        {"train_labels": torch.tensor([1, 0, 0])},
        {"test_images": torch.ones(1, 2, 1, 1)},
        {"test_labels": torch.tensor([0])},
        {"classes": ("dog", "cat")},
    ],
)
def test_the_digest_depends_on_every_part(change):
    assert image_data().sha256() == image_data().sha256() != image_data(**change).sha256()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_images": torch.zeros(1, 2, 1, 2)}, "in both splits, got [3, 2, 1, 1] and [1"),
        ({"train_images": torch.zeros(3, 2)}, "must be [N, C, H, W]"),
        ({"test_images": torch.zeros(0, 2, 1, 1)}, "made: test images must be [N, C, H, W]"),
        ({"train_images": torch.full((3, 2, 1, 1), 2.0)}, "must be float32 in [0, 1], got"),
        ({"train_images": torch.full((3, 2, 1, 1), math.nan)}, "must be float32 in [0, 1], got"),
        ({"test_images": torch.zeros(1, 2, 1, 1).double()}, "got torch.float64 in [0, 0]"),
        ({"test_labels": torch.tensor([0, 1])}, "got 1 images and torch.int64 labels [2]"),
        ({"test_labels": torch.tensor([1.0])}, "need one int64 label each"),
        ({"test_labels": torch.tensor([2])}, "must have labels in 0..1, got 2..2"),
        ({"train_labels": torch.tensor([0, -1, 0])}, "must have labels in 0..1, got -1..0"),
        ({"train_labels": torch.tensor([0, 0, 0])}, "no training image of the classes dog."),
    ],
)
def test_tensors_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        image_data(**change)


def test_digits_are_all_there_once_and_balanced():
    data = load_data("digits")
    assert data.train_images.shape == (1347, 1, 8, 8)
    assert data.test_images.shape == (450, 1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert data.test_labels.bincount().min() >= 43
    both = torch.cat([data.train_images, data.test_images]).flatten(1) * 16
    labels = torch.cat([data.train_labels, data.test_labels])
    ours = sorted(zip(both.int().tolist(), labels.tolist(), strict=True))
    pixels, targets = load_digits(return_X_y=True)
    assert ours == sorted(zip(pixels.astype(int).tolist(), targets.tolist(), strict=True))
    assert load_data("digits").sha256() == data.sha256()


@pytest.mark.parametrize("size", [5, 8, 16])
def test_resizing_is_that_of_pillow(size):
    own, resized = load_data("digits"), load_data("digits", size=size)
    assert torch.equal(resized.train_labels, own.train_labels)
    for images, smaller in (
        (own.train_images, resized.train_images),
        (own.test_images, resized.test_images),
    ):
        assert smaller.shape == (len(images), 1, size, size)
        picture = Image.fromarray(images[7, 0].numpy()).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        torch.testing.assert_close(smaller[7, 0], torch.from_numpy(np.array(picture)))


@pytest.mark.slow
def test_photos_by_name():
    data = load_data("photos", size=8)
    assert data.train_images.shape == (4500, 3, 8, 8)
    assert data.test_images.shape == (900, 3, 8, 8)
    assert data.classes[:2] == ("astronaut", "chelsea")


def write_fashion_mnist(folder: Path, *, compressed: bool) -> None:
    folder.mkdir(parents=True)
    for split, count in (("train", 20), ("t10k", 10)):
        pixels = bytes(range(count)) * 4
        shapes = {"images-idx3": (count, 2, 2), "labels-idx1": (count,)}
        for kind, shape in shapes.items():
            body = pixels if kind == "images-idx3" else bytes(i % 10 for i in range(count))
            header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
            name = f"{split}-{kind}-ubyte"
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(header + body))
            else:
                (folder / name).write_bytes(header + body)


@pytest.mark.parametrize(
    ("inner", "compressed"), [("", True), ("", False), ("FashionMNIST/raw", False)]
)
def test_fashion_mnist_files(tmp_path, inner, compressed):
    write_fashion_mnist(tmp_path / "own" / inner, compressed=compressed)
    data = load_data("fashion_mnist", root=tmp_path / "own")
    assert data.train_images.shape == (20, 1, 2, 2)
    assert data.train_labels.tolist() == [i % 10 for i in range(20)]
    torch.testing.assert_close(
        data.test_images[0].flatten(), torch.tensor([0.0, 1, 2, 3]) / 255, rtol=0, atol=1e-7
    )
    assert data.classes[9] == "Ankle boot"


def test_fashion_mnist_without_root_is_debians(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    message = "debian: either apt-get install dataset-fashion-mnist .* download: true"
    with pytest.raises(FileNotFoundError, match=message):
        load_data("fashion_mnist", download=True)
    write_fashion_mnist(tmp_path / "debian", compressed=True)
    assert len(load_data("fashion_mnist").train_images) == 20


def test_fashion_mnist_with_a_root_never_reads_elsewhere(tmp_path, monkeypatch):
    write_fashion_mnist(tmp_path / "debian", compressed=True)
    write_fashion_mnist(tmp_path / "own", compressed=True)
    monkeypatch.setattr(data_module, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    (tmp_path / "own" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"not in \S*own or \S*own/FashionMNIST/raw: either"
    ):
        load_data("fashion_mnist", root=tmp_path / "own")


@pytest.mark.skipif(
    not DEBIAN_FASHION_MNIST.is_dir(), reason="the package dataset-fashion-mnist is not installed"
)
def test_debians_fashion_mnist():
    data = load_data("fashion_mnist")
    assert data.train_labels.bincount().tolist() == [6000] * 10
    assert data.test_labels.bincount().tolist() == [1000] * 10
    assert data.mean.item() == pytest.approx(0.2860, abs=1e-4)  # as published everywhere


def small_cifar(root: Path) -> type[CIFAR10]:
    """Writes batches in CIFAR-10's format and returns the class that knows their checksums."""
    folder = root / "small-batches-py"
    folder.mkdir(parents=True)

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(first: int) -> dict[str, object]:
        # The format: one row an image, 1024 numbers of red, then green, then blue, row by row.
        rows = np.zeros((2, 3, 32, 32), np.uint8)
        rows[0, 0], rows[1, 2, 5, 7] = 255, 51
        return {"data": rows.reshape(2, 3072), "labels": [first, 1]}

    train = [[name, write(name, batch(0))] for name in ("data_batch_1", "data_batch_2")]
    checksum = write("batches.meta", {"label_names": ["cat", "dog"]})

    class SmallCIFAR10(CIFAR10):
        base_folder = folder.name
        train_list = train
        test_list = [["test_batch", write("test_batch", batch(1))]]  # noqa: RUF012
        meta = {"filename": "batches.meta", "key": "label_names", "md5": checksum}  # noqa: RUF012

    return SmallCIFAR10


def test_cifar_batches(tmp_path):
    train_images, train_labels, test_images, test_labels, classes = load_cifar(
        small_cifar(tmp_path), tmp_path, download=False
    )
    assert classes == ("cat", "dog")
    assert train_labels.tolist() == [0, 1, 0, 1]
    assert test_labels.tolist() == [1, 1]
    assert train_images.shape == (4, 3, 32, 32)
    assert torch.equal(test_images[0], torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 32, 32))
    assert test_images[1].nonzero().tolist() == [[2, 5, 7]]
    assert test_images[1, 2, 5, 7].item() == pytest.approx(0.2)


def test_a_damaged_cifar_batch_is_refused(tmp_path):
    kind = small_cifar(tmp_path)
    (tmp_path / "small-batches-py" / "data_batch_2").write_bytes(b"damaged")
    with pytest.raises(
        FileNotFoundError, match="has no complete small-batches-py: put the extract"
    ):
        load_cifar(kind, tmp_path, download=False)


@pytest.mark.parametrize(
    ("name", "folder"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")]
)
def test_missing_cifar_says_the_ways_out(tmp_path, name, folder):
    with pytest.raises(FileNotFoundError, match=f"no complete {folder}: .*download: true"):
        load_data(name, root=tmp_path)
    with pytest.raises(ValueError, match=f"give root, the folder that .* {folder}"):
        load_data(name)


def test_a_folder_by_name(tmp_path):
    for part in ("train", "test"):
        for label, shade in (("black", 0), ("white", 255)):
            (tmp_path / part / label).mkdir(parents=True)
            Image.new("L", (6, 6), shade).save(tmp_path / part / label / "a.png")
    data = load_data("folder", root=str(tmp_path), size=4)
    assert data.classes == ("black", "white")
    assert torch.equal(data.test_images[1], torch.ones(3, 4, 4))
    with pytest.raises(ValueError, match="folder needs root and size"):
        load_data("folder", root=tmp_path)


def test_arguments_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"got 'fashionmnist'; did you mean 'fashion_mnist'\?"):
        load_data("fashionmnist")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="digits comes with the installed libraries: leave out"):
        load_data("digits", root=tmp_path)
    with pytest.raises(ValueError, match="photos comes with the installed libraries: leave out"):
        load_data("photos", download=True)
    with pytest.raises(ValueError, match="size must be at least 1 pixel, got 0"):
        load_data("digits", size=0)


def test_a_configuration_holds_the_arguments():
    data = load_data(**DataConfig(name="digits", size=4).model_dump())
    assert data.test_images.shape == (450, 1, 4, 4)
    assert len(get_args(DataName)) == 6
