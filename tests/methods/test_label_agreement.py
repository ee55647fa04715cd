import pytest
import torch
from torch import Tensor, nn

from modelgif.methods.label_agreement import compare, describe


@pytest.fixture
def model() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
            )
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.randn(40, 4, generator=torch.Generator().manual_seed(1))


def test_describes_by_the_predicted_class(model: nn.Module, x: Tensor) -> None:
    model.eval()
    labels = describe(model, x)
    assert labels.tolist() == [int(model(row[None])[0].argmax()) for row in x]
    assert len(labels.unique()) > 1
    assert torch.equal(describe(lambda z: {"logits": model(z)}, x), labels)


def test_models_in_training_are_described_in_evaluation_mode(model: nn.Module, x: Tensor) -> None:
    expected = describe(model.eval(), x)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert torch.equal(describe(model.train(), x), expected)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_distance_is_the_share_of_unlike_labels() -> None:
    a, b, c = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 2, 1, 2]), torch.tensor([1, 2, 0, 0])
    assert compare(a, a) == 0
    assert compare(a, b) == compare(b, a) == 0.5
    assert compare(a, c) == 1


def test_descriptions_of_unlike_references_are_refused() -> None:
    with pytest.raises(ValueError, match="references"):
        compare(torch.zeros(4, dtype=torch.long), torch.zeros(1, dtype=torch.long))


def test_outputs_that_are_not_scores_are_refused(model: nn.Module, x: Tensor) -> None:
    with pytest.raises(TypeError, match="must return a tensor of scores, got str"):
        describe(lambda z: "cat", x)
    with pytest.raises(ValueError, match="one row of scores per sample"):
        describe(lambda z: model(z)[:3], x)
