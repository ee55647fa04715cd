import torch
from torch import Tensor, nn

from modelgif.fields.field_settings import FieldSettings
from modelgif.fields.gradient_field import gradient_field
from modelgif.references.references import References
from modelgif.zoo.recipe import Recipe


class SometimesSure(nn.Module):
    """Gives probabilities, which at the first image are 0 and 1 to rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).softmax(1)


def test_a_target_is_told_once_at_all_references_whatever_the_blocks() -> None:
    torch.manual_seed(0)
    model, images = SometimesSure(), torch.rand(5, 6)
    # Alone, its answer is one row: no kind of outputs can be told from it.
    images[0] *= 400
    references = References(images, tuple("abcde"))
    settings = FieldSettings(target="class_contrast", n_steps=4, dtype=torch.float32)
    recipe = Recipe(references, settings)
    blocks = torch.cat([recipe.field(model, slice(row, row + 1)) for row in range(5)])
    whole = gradient_field(model, images, target="class_contrast", n_steps=4)
    torch.testing.assert_close(blocks, whole)
