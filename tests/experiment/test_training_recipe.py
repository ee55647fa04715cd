import pytest

from modelgif.experiment.config_error import ConfigError
from modelgif.experiment.training_recipe import FineTuneRecipe, ScratchRecipe, load_recipe


def test_without_a_file_there_are_defaults():
    assert load_recipe(None, fine_tune=False) == ScratchRecipe()
    assert load_recipe(None, fine_tune=True) == FineTuneRecipe()
    assert load_recipe(None, ["epochs=2", "optimizer=sgd"], fine_tune=True) == FineTuneRecipe(
        epochs=2, optimizer="sgd"
    )


def test_a_file_says_what_differs_from_them(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("batch_size: 16\nepochs: 7\n")
    expected = ScratchRecipe(batch_size=16, epochs=3)
    assert load_recipe(path, ["epochs=3"], fine_tune=False) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "override epoch=3: epoch: unknown key, got 3; did you mean epochs?"),
        ("epochs=0", "override epochs=0: epochs: must be greater than 0, got 0."),
        ("learning_rate=fast", "must be a number, got 'fast'"),
        ("epochs", "must look like key=value"),
        ("milestones=[3]", "^the default recipe: milestones belong to the schedule multistep"),
    ],
)
def test_a_wrong_value_is_named(override, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        load_recipe(None, [override], fine_tune=False)
