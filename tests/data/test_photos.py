import pytest
import torch

from modelgif.data.photos import PHOTOGRAPHS, crop_tiles, load_photos, read_photo


@pytest.fixture(scope="module")
def photos():
    return load_photos()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.slow
def test_shapes_range_and_balance(photos):
    train_images, train_labels, test_images, test_labels = photos
    assert train_images.shape == (4500, 3, 32, 32)
    assert test_images.shape == (900, 3, 32, 32)
    assert train_labels.bincount().tolist() == [500] * len(PHOTOGRAPHS)
    assert test_labels.bincount().tolist() == [100] * len(PHOTOGRAPHS)
    for images in (train_images, test_images):
        assert images.dtype == torch.float32
        assert images.min() >= 0
        assert images.max() <= 1


@pytest.mark.slow
def test_the_crops_are_always_the_same_and_differ_from_each_other(photos):
    again = load_photos()
    assert all(map(torch.equal, photos, again))
    assert len(photos[0].flatten(1).unique(dim=0)) > 4490


def test_crops_show_their_photograph(photos):
    # The darkest and the reddest photograph are known without looking at the labels.
    train_images, train_labels, *_ = photos
    colour = torch.stack([train_images[train_labels == c].mean((0, 2, 3)) for c in range(9)])
    assert PHOTOGRAPHS[int(colour.sum(1).argmin())] == "hubble_deep_field"
    assert PHOTOGRAPHS[int((colour[:, 0] - colour[:, 2]).argmax())] == "retina"


def test_photographs_are_coloured_and_the_retina_has_no_black_corner():
    for name in PHOTOGRAPHS:
        photo = read_photo(name)
        assert photo.ndim == 3
        assert min(photo.shape[1:]) >= 300
        assert (photo[0] - photo[2]).abs().mean() > 0.01
    corners = read_photo("retina")[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners[0].min() > 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(300, 451), (512, 512), (427, 640), (240, 320)])
def test_training_and_test_share_no_pixel(height, width):
    # Which pixels the crops of one split touch: those on which they depend.
    touched = []
    for test in (False, True):
        photo = torch.full((3, height, width), 0.5, requires_grad=True)
        crops = crop_tiles(photo, 400, test=test, size=64, generator=generator(1))
        (gradient,) = torch.autograd.grad(crops.sum(), photo)
        touched.append(gradient.abs().sum(0) > 0)
    train, test = touched
    assert not (train & test).any()
    assert train.float().mean() > 0.4
    assert 0.1 < test.float().mean() < 0.25
    # Not even the neighbourhood of 15 pixels, one block of a JPEG file, is shared.
    near = torch.nn.functional.max_pool2d(train[None].float(), 31, stride=1, padding=15)[0] > 0
    assert not (near & test).any()


def test_crops_are_squares_of_the_promised_sides():
    # On a ramp of columns, the step between a crop's pixels is its side over its size.
    ramp = torch.arange(600).float().expand(3, 400, 600) / 600
    crops = crop_tiles(ramp, 200, test=False, size=16, generator=generator())
    across = (crops[:, 0, 8, 12] - crops[:, 0, 8, 4]) * 600 / 8 * 16
    assert across.min() >= 400 // 8 - 1
    assert across.max() <= 400 // 5 + 1
    assert across.max() - across.min() > 25
    down = (crops[:, :, 1:] - crops[:, :, :-1]).abs().max()
    assert down < 1e-6


def test_a_photograph_that_is_too_small(tmp_path):
    with pytest.raises(ValueError, match="at least 320 pixels wide and 240 high, got 200 x 300"):
        crop_tiles(torch.zeros(3, 300, 200), 1, test=True, size=8, generator=generator())


def test_a_library_without_its_photographs_is_named(tmp_path, monkeypatch):
    (tmp_path / "skimage").mkdir()
    (tmp_path / "skimage" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "skimage", raising=False)
    with pytest.raises(FileNotFoundError, match=r"installed skimage carries no photograph data/co"):
        read_photo("coffee")
