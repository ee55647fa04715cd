import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modelgif.data.image_folder import read_image_folder


def save(path: Path, colour: tuple[int, ...], size: tuple[int, int] = (12, 8), mode: str = "RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def test_given_splits_and_colours(tmp_path):
    save(tmp_path / "train" / "red" / "a.png", (255, 0, 0))
    save(tmp_path / "train" / "blue" / "a.png", (0, 0, 255))
    save(tmp_path / "train" / "blue" / "b.png", (51,), mode="L")
    save(tmp_path / "test" / "red" / "a.jpg", (255, 0, 0))
    (tmp_path / "test" / "blue").mkdir()
    save(tmp_path / "test" / "blue" / "a.png", (0, 0, 255, 128), mode="RGBA")
    train_images, train_labels, test_images, test_labels, classes = read_image_folder(tmp_path, 4)
    assert classes == ("blue", "red")
    assert train_labels.tolist() == [0, 0, 1]
    assert test_labels.tolist() == [0, 1]
    assert train_images.shape == (3, 3, 4, 4)
    colours = torch.tensor([[0, 0, 1], [0.2, 0.2, 0.2], [1, 0, 0]])
    torch.testing.assert_close(train_images, colours[:, :, None, None].expand(3, 3, 4, 4))
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0]])
    torch.testing.assert_close(test_images.mean((2, 3)), expected, atol=0.02, rtol=0)


def test_the_centre_square_is_kept_in_its_proportions(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    for part in ("train", "test"):
        (tmp_path / part / "wide").mkdir(parents=True)
        Image.fromarray(wide).save(tmp_path / part / "wide" / "a.png")
    image = read_image_folder(tmp_path, 8)[0][0]
    assert torch.equal(image, torch.ones(3, 8, 8))


def test_one_folder_is_split_by_class_and_always_alike(tmp_path):
    for number in range(30):
        save(tmp_path / f"class{number % 3}" / f"{number:02}.png", (number, 0, 0))
    train_images, train_labels, test_images, test_labels, _ = read_image_folder(tmp_path, 8)
    assert train_labels.bincount().tolist() == [8, 8, 8]
    assert test_labels.bincount().tolist() == [2, 2, 2]
    images = torch.cat([train_images, test_images])
    numbers = (images[:, 0, 0, 0] * 255).round().long()
    assert numbers.sort().values.tolist() == list(range(30))
    assert torch.equal(numbers % 3, torch.cat([train_labels, test_labels]))
    assert torch.equal(test_images, read_image_folder(tmp_path, 8)[2])


def encoded(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bad.png", b"", "cannot identify"),
        ("bad.png", b"no image", "cannot identify"),
        ("bad.png", encoded("PNG")[:2000], "truncated"),
        ("bad.jpg", encoded("JPEG")[:500], "Truncated"),
        ("bad.png", encoded("PNG")[:36] + b"\x01" + encoded("PNG")[37:], "broken PNG"),
        ("bad.ppm", b"P6 2 Q 255 ", "invalid literal"),
        ("bad.bmp", encoded("BMP")[:20] + b"\xff\xff" + encoded("BMP")[22:], "exceeds limit"),
    ],
)
def test_a_damaged_image_is_named(tmp_path, name, content, reason):
    for part in ("train", "test"):
        save(tmp_path / part / "cat" / "a.png", (0, 0, 0))
    (tmp_path / "test" / "cat" / name).write_bytes(content)
    message = rf"test/cat/{name} is not a valid image: .*{reason}.*; repair or remove it"
    with pytest.raises(ValueError, match=message):
        read_image_folder(tmp_path, 4)


def test_folders_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a folder with one folder of images per"):
        read_image_folder(tmp_path / "absent", 4)
    save(tmp_path / "train" / "cat" / "a.png", (0, 0, 0))
    with pytest.raises(FileNotFoundError, match="has only one of the folders train and test"):
        read_image_folder(tmp_path, 4)
    save(tmp_path / "test" / "cat" / "a.png", (0, 0, 0))
    save(tmp_path / "test" / "dog" / "a.png", (0, 0, 0))
    with pytest.raises(ValueError, match="same classes in train and test; only in one are dog"):
        read_image_folder(tmp_path, 4)


def test_too_few_images_to_split(tmp_path):
    for number in range(10):
        save(tmp_path / "cat" / f"{number}.png", (0, 0, 0))
    for number in range(4):
        save(tmp_path / "dog" / f"{number}.png", (0, 0, 0))
    message = re.escape("dog must have at least 5 images to split, got 4")
    with pytest.raises(ValueError, match=message):
        read_image_folder(tmp_path, 4)
