import numpy as np
import pytest
import torch
from captum.attr import Lime
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn

from modelgif.methods import superpixels
from modelgif.methods.zest import compare, describe

N, SIDE, CLASSES = 5, 8, 4


def network(seed: int, n_classes: int = CLASSES) -> nn.Sequential:
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * SIDE**2, 12), nn.Tanh(), nn.Linear(12, CLASSES))
    if n_classes != CLASSES:
        net[-1] = nn.Linear(12, n_classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.rand(N, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def segments() -> Tensor:
    """Rows of two and halves, of unlike numbers a reference, no two references alike."""
    row = torch.arange(SIDE)[:, None].expand(SIDE, SIDE)
    column = torch.arange(SIDE)[None, :].expand(SIDE, SIDE)
    quarters = row // 4 * 2 + column // 4
    return torch.stack([row // 2, row // 4, quarters, column // 2, (row + column) // 3])


class Watched(nn.Module):
    """A network that remembers what it has seen."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seen = net, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return self.net(x)


def test_coefficients_equal_scikit_learn_s(x: Tensor, segments: Tensor) -> None:
    model = Watched(network(0))
    found = describe(model, x, segments=segments, n_samples=60, baseline=0.25, batch_size=31)
    seen = torch.cat(model.seen).unflatten(0, (N, 60))
    with torch.no_grad():
        scores = model.net(seen.flatten(0, 1)).unflatten(0, (N, 60)).double()
    assert found.shape == (N, 5, CLASSES)
    for row in range(N):
        count = int(segments[row].max()) + 1
        # What was shown of each segment is read from the images themselves.
        shown = np.zeros((60, count))
        for segment in range(count):
            inside = segments[row] == segment
            visible = (seen[row][:, :, inside] == x[row][:, inside]).all(2).all(1)
            hidden = (seen[row][:, :, inside] == 0.25).all(2).all(1)
            assert (visible ^ hidden).all()
            shown[:, segment] = visible.numpy()
        assert shown[0].all()
        assert 0.3 < shown.mean() < 0.7
        fit = LinearRegression(fit_intercept=False).fit(shown, scores[row].numpy())
        np.testing.assert_allclose(found[row, :count], fit.coef_.T, atol=1e-10)
        assert (found[row, count:] == 0).all()


def test_coefficients_of_a_linear_model_are_known(x: Tensor, segments: Tensor) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(2 * SIDE**2, CLASSES, bias=False))
    found = describe(linear, x, segments=segments, n_samples=80)
    weight = linear[1].weight.detach().double().view(CLASSES, 2, SIDE, SIDE)  # pyright: ignore
    for row in range(N):
        for segment in range(int(segments[row].max()) + 1):
            inside = (segments[row] == segment).double()
            expected = (weight * x[row].double() * inside).sum((1, 2, 3))
            torch.testing.assert_close(found[row, segment], expected, atol=1e-5, rtol=1e-5)


def test_it_is_captum_s_lime_without_weights_and_intercept(x: Tensor, segments: Tensor) -> None:
    """The same images and scores, given to captum's Lime, have the same coefficients."""
    model = Watched(network(0))
    found = describe(model, x[:1], segments=segments[:1], n_samples=50)
    seen = torch.cat(model.seen)
    shown = []
    for image in seen:
        visible = [
            bool((image[:, segments[0] == s] == x[0][:, segments[0] == s]).all()) for s in range(4)
        ]
        shown.append(torch.tensor([visible]).float())
    samples = iter(shown)

    class LeastSquares:
        def fit(self, loader: object) -> None:
            (rows, scores, _weights) = next(iter(loader))  # pyright: ignore
            fit = LinearRegression(fit_intercept=False).fit(rows.numpy(), scores.numpy())
            self.coefficients = torch.from_numpy(np.atleast_2d(fit.coef_)).float()

        def representation(self) -> Tensor:
            return self.coefficients

    lime = Lime(
        model.net,
        interpretable_model=LeastSquares(),  # pyright: ignore
        similarity_func=lambda *_args, **_options: 1.0,
        perturb_func=lambda *_args, **_options: next(samples),
    )
    mask = segments[:1, None].expand(1, 2, SIDE, SIDE)
    for target in range(CLASSES):
        samples = iter(shown)
        expected = lime.attribute(
            x[:1], target=target, feature_mask=mask, n_samples=50, return_input_shape=False
        )
        torch.testing.assert_close(
            found[0, :4, target].float(), expected[0], atol=1e-4, rtol=1e-4, check_dtype=False
        )


def test_all_models_see_the_same_images_and_a_longer_list_begins_with_them(x: Tensor) -> None:
    one, other, longer = (Watched(network(seed)) for seed in (0, 1, 2))
    short, whole = describe(one, x[:3], n_samples=20, seed=4), describe(longer, x, n_samples=20)
    describe(other, x[:3], n_samples=20, seed=4)
    assert torch.equal(torch.cat(one.seen), torch.cat(other.seen))
    again = describe(network(0), x, n_samples=20, seed=4)
    torch.testing.assert_close(again[:3], short, atol=1e-6, rtol=1e-6)
    assert not torch.equal(torch.cat(longer.seen)[:60], torch.cat(one.seen))
    assert whole.shape == (N, 49, CLASSES)


def test_fewer_samples_than_segments_give_the_least_coefficients(x: Tensor) -> None:
    net = network(0)
    model = Watched(net)
    found = describe(model, x[:1], n_samples=10)
    # 49 squares of an 8 x 8 image: a pixel or a pair of them each.
    seen = torch.cat(model.seen)
    cell = torch.arange(SIDE) * 7 // SIDE
    number = cell[:, None] * 7 + cell[None, :]
    shown = torch.stack(
        [(seen[:, 0, number == c] == x[0, 0, number == c]).all(1) for c in range(49)]
    )
    with torch.no_grad():
        expected = torch.linalg.pinv(shown.T.double()) @ net(seen).double()
    torch.testing.assert_close(found[0], expected, atol=1e-8, rtol=1e-8)


def test_distance_with_and_without_alignment(x: Tensor) -> None:
    a, b = (describe(network(seed), x, n_samples=60) for seed in (0, 1))
    b = b[:, :, [1, 2, 3, 0]]
    flat = torch.stack([a.flatten(), b.flatten()])
    cosine = float(flat[0] @ flat[1] / (flat[0].norm() * flat[1].norm()))
    assert compare(a, b, align=False) == pytest.approx(1 - cosine, rel=1e-12)
    columns_a, columns_b = a.flatten(0, 1), b.flatten(0, 1)
    cosines = (columns_a / columns_a.norm(dim=0)).T @ (columns_b / columns_b.norm(dim=0))
    left, right, pairs = list(range(CLASSES)), list(range(CLASSES)), []
    while left:
        i, j = max(((i, j) for i in left for j in right), key=lambda p: float(cosines[p[0], p[1]]))
        left.remove(i)
        right.remove(j)
        pairs.append((i, j))
    dot = sum(float(columns_a[:, i] @ columns_b[:, j]) for i, j in pairs)
    expected = 1 - dot / float(flat[0].norm() * flat[1].norm())
    assert compare(a, b) == pytest.approx(expected, rel=1e-10)
    assert compare(a, b) < compare(a, b, align=False)
    assert compare(b, a) == pytest.approx(compare(a, b), rel=1e-10)


def test_of_more_classes_only_partners_count(x: Tensor) -> None:
    net = network(0)
    a = describe(net, x, n_samples=60)
    order = torch.tensor([2, 0, 3, 1])
    more = torch.cat([torch.randn(N, 49, 2, dtype=torch.float64), a[:, :, order]], 2)
    assert compare(a, more) == pytest.approx(0, abs=1e-12)
    assert compare(more, a) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="same classes unless align"):
        compare(a, more, align=False)


def test_without_segments_images_are_cut_into_even_rectangles() -> None:
    # The scores are sums of pixels in a window, so that coefficients show which pixels a cell has.
    height, width = 15, 3
    images = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(0)) + 0.1
    windows = torch.eye(height * width)
    found = describe(lambda z: z.flatten(1) @ windows, images, n_samples=200)
    assert found.shape == (2, 7 * 3, height * width)
    owner = (found[0].abs() > 1e-6).double().argmax(0).view(height, width)
    assert (((found[0].abs() > 1e-6).sum(0)) == 1).all()
    assert owner.unique().tolist() == list(range(21))
    assert (owner[:, 1:] != owner[:, :-1]).all()
    rows = [int((owner[:, 0] == cell).sum()) for cell in owner[:, 0].unique()]
    assert sorted(rows) == [2] * 6 + [3]


def test_superpixels_follow_edges() -> None:
    image = torch.zeros(1, 3, 24, 24)
    image[:, 0, :, :12], image[:, 2, :, 12:] = 1.0, 1.0
    found = superpixels(image, kernel_size=2, max_dist=20, ratio=1.0)
    assert found.shape == (1, 24, 24)
    assert found.dtype == torch.int64
    left, right = set(found[0, :, :12].unique().tolist()), set(found[0, :, 12:].unique().tolist())
    assert not left & right
    assert sorted(left | right) == list(range(len(left | right)))
    assert torch.equal(superpixels(image, kernel_size=2, max_dist=20, ratio=1.0), found)
    grey = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(superpixels(grey), superpixels(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match=r"\[N, 1 or 3, H, W\]"):
        superpixels(torch.zeros(1, 2, 8, 8))


def test_superpixels_serve_as_segments() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    cut = superpixels(images, kernel_size=1, max_dist=6)
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    found = describe(net, images, segments=cut, n_samples=30)
    assert found.shape == (3, int(cut.max()) + 1, 3)


def test_superpixels_without_scikit_image_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage.segmentation", None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'modelgif\\[experiments\\]'"):
        superpixels(torch.zeros(1, 1, 8, 8))


def test_bad_input_is_refused(x: Tensor, segments: Tensor) -> None:
    net = network(0)
    with pytest.raises(ValueError, match=r"images \[N, C, H, W\], got \[5, 128\]"):
        describe(net, x.flatten(1))
    with pytest.raises(ValueError, match="at least one sample"):
        describe(net, x, n_samples=0)
    for bad in (segments[:4], segments.float(), segments - 1):
        with pytest.raises(ValueError, match=r"segments must be whole numbers from 0.*\[5, 8, 8\]"):
            describe(net, x, segments=bad)
