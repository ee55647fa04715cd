"""What a notebook shows of distances: a table of few models, a picture of many."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import modelgif as gif
from modelgif.experiment.networks import convnet
from modelgif.storage.field_store import StoreError

NAMES = ("mine", "<theirs>", "a & b")


class Cells(HTMLParser):
    """The texts of all cells of a table, and their styles."""

    def __init__(self, page):
        super().__init__()
        self.heads, self.cells, self.styles, self._tag = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        if tag == "td":
            self.styles.append(dict(attrs)["style"])
        elif tag == "th":
            self.heads.append("")

    def handle_endtag(self, tag):
        self._tag = ""

    def handle_data(self, data):
        if self._tag == "th":
            self.heads[-1] += data
        elif self._tag == "td":
            self.cells.append(data)


def random_matrix(names, seed=0):
    generator = np.random.default_rng(seed)
    upper = np.triu(generator.uniform(0.1, 1.2, (len(names), len(names))), 1)
    return gif.DistanceMatrix(tuple(names), torch.from_numpy(upper + upper.T))


def test_few_models_are_a_table_the_nearer_the_bluer():
    matrix = random_matrix(NAMES)
    page = Cells(matrix._repr_html_())
    assert page.heads == ["", *NAMES, *NAMES]
    flat = matrix.values.flatten().tolist()
    assert page.cells == [f"{value:.3f}" for value in flat]
    shades = [float(re.search(r", ([0-9.]+)\)", style)[1]) for style in page.styles]
    assert shades[0] == 0.5
    np.testing.assert_allclose(shades, [0.5 * (1 - v / max(flat)) for v in flat], atol=0.006)


def test_many_models_are_a_picture():
    matrix = random_matrix([f"model {i}" for i in range(17)])
    kind, content = re.search(r'src="data:(.*?);base64,(.*?)"', matrix._repr_html_()).groups()
    assert kind == "image/png"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        assert min(picture.size) > 300
        assert len(picture.convert("RGB").getcolors(2**24)) > 50


def test_as_text_as_a_frame_and_by_name():
    matrix = random_matrix(NAMES)
    frame = matrix.to_frame()
    assert list(frame.index) == list(frame.columns) == list(NAMES)
    np.testing.assert_array_equal(frame.to_numpy(), matrix.values.numpy())
    assert matrix["<theirs>", "mine"] == frame.loc["<theirs>", "mine"]
    assert f"{matrix['mine', 'a & b']:.3f}" in repr(matrix)
    with pytest.raises(KeyError, match="Did you mean mine"):
        matrix["min", "a & b"]


@pytest.mark.parametrize("kind", ["heat_map", "similarity_tree"])
def test_pictures(kind):
    matrix = random_matrix(NAMES)
    figure = matrix.plot(kind, groups=["x", "y", "x"])
    assert isinstance(figure, Figure)
    labels = {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert labels == set(NAMES)
    if kind == "heat_map":
        shown = figure.axes[0].get_images()[0].get_array()
        order = [0, 2, 1]
        np.testing.assert_array_equal(shown, matrix.values.numpy()[np.ix_(order, order)])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"expected 2 different names .* got 1 different"):
        gif.DistanceMatrix(("a", "a"), torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"values \[2, 2\]"):
        gif.DistanceMatrix(("a", "b"), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="heat_map or similarity_tree, got 'pie'"):
        random_matrix(NAMES).plot("pie")


def zoo():
    models = {}
    with torch.random.fork_rng():
        for seed, name in enumerate(("a", "b", "c")):
            torch.manual_seed(seed)
            models[name] = convnet(1, 4, 4).eval()
    return models


def test_fields_stores_extractions_and_streams_give_the_same_matrix(tmp_path):
    models, images = zoo(), torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    options = {"n_steps": 4, "baseline": 0.5}
    fields = {name: gif.gradient_field(model, images, **options) for name, model in models.items()}
    cells = {name: f.double().flatten(2).numpy() for name, f in fields.items()}
    expected = np.zeros((3, 3))
    for i, a in enumerate(cells.values()):
        for j, b in enumerate(cells.values()):
            lengths = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
            expected[i, j] = 1 - ((a * b).sum(2) / lengths).mean()
    done = gif.extract(models, images, tmp_path, progress=False, **options)
    streamed = gif.stream_distances(models, images, progress=False, **options)
    for described in (fields, done, done.stores, streamed):
        found = gif.distance_matrix(described)
        assert found.names == ("a", "b", "c")
        np.testing.assert_allclose(found.values, expected, atol=1e-6)
    euclidean = gif.distance_matrix(fields, metric="euclidean")["a", "b"]
    assert euclidean == pytest.approx(gif.distance(fields["a"], fields["b"], metric="euclidean"))


def test_stores_of_other_settings_are_refused(tmp_path):
    models, images = zoo(), torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    few = gif.extract({"a": models["a"]}, images, tmp_path, n_steps=2, progress=False)
    many = gif.extract({"b": models["b"]}, images, tmp_path, n_steps=3, progress=False)
    with pytest.raises(StoreError, match="n_steps differ, 2 and 3"):
        gif.distance_matrix(few.stores | many.stores)


def test_models_without_a_field_are_named(tmp_path):
    models = {"a": zoo()["a"], "broken": torch.nn.Linear(3, 4)}
    done = gif.extract(models, torch.rand(2, 1, 8, 8), tmp_path, n_steps=2, progress=False)
    with pytest.raises(RuntimeError, match="broken"):
        gif.distance_matrix(done)
