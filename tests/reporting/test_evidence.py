import numpy as np
import pytest
import torch

from modelgif.reporting.evidence import evidence


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_for_each_image_and_field(channels):
    images = torch.rand(4, channels, 6, 5)
    fields = {"mine": torch.randn(4, channels, 6, 5), "theirs": torch.zeros(4, channels, 6, 5)}
    figure = evidence(images, fields, ["a", "b", "c", "d"])
    axes = np.array(figure.axes).reshape(3, 4)
    assert [cell.get_title() for cell in axes[0]] == ["a", "b", "c", "d"]
    assert [row[0].get_ylabel() for row in axes] == ["image", "mine", "theirs"]
    np.testing.assert_allclose(
        np.squeeze(axes[0, 2].images[0].get_array()),
        images[2].permute(1, 2, 0).squeeze(),
        rtol=1e-6,
    )
    relevance = fields["mine"][3].double().sum(0)
    overlay = axes[1, 3].images[1]
    np.testing.assert_array_equal(overlay.get_array(), relevance.sign())
    np.testing.assert_allclose(
        overlay.get_alpha(), relevance.abs() / relevance.abs().max(), rtol=1e-6
    )
    assert not axes[2, 0].images[1].get_alpha().any()  # a zero field shows nothing


def test_what_does_not_fit_is_refused():
    images = torch.rand(2, 1, 4, 4)
    with pytest.raises(ValueError, match=r"mine.*\(2, 1, 4, 5\)"):
        evidence(images, {"mine": torch.rand(2, 1, 4, 5)}, ["a", "b"])
    with pytest.raises(ValueError, match="2 titles"):
        evidence(images[:1], {}, ["a", "b"])
