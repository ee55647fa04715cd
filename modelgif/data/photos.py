"""A small colour data set that needs no download: crops of photographs that come with libraries.

The wheels of scikit-image and scikit-learn carry these nine photographs; each is one class.

- astronaut: NASA, public domain
- chelsea: a cat, by Stefan van der Walt, CC0
- china: a pagoda, by danielbuechele, CC BY 2.0
- coffee: by Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0
- flower: a dahlia, by vultilion, CC BY 2.0
- hubble_deep_field: NASA, public domain
- ihc: stained colonic glands under the microscope, by the Center for Microscopy And Molecular
  Imaging, no known copyright restrictions
- retina: by Mikael Häggström, CC0
- rocket: by SpaceX, public domain
"""

import importlib.util
from pathlib import Path

import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image
from torch import Tensor

# Where each photograph lies: the package, and the path in its folder.
_FILES = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "ihc": ("skimage", "data/ihc.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}
PHOTOGRAPHS = tuple(_FILES)

# A photograph is cut into 3 x 4 tiles, one test tile in each row, and a crop lies in one tile. The
# gap between tiles is one block of a JPEG file with halved colour, so that not even a block serves
# both training and test.
_ROWS, _COLUMNS = 3, 4
_TEST_TILES = {(0, 0), (1, 2), (2, 1)}
_GAP = 16
_TRAIN_COUNT, _TEST_COUNT = 500, 100
_SEED = 0


def load_photos(size: int = 32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the training crops and labels, then the test crops and labels.

    There are 500 training and 100 test crops of each of the 9 photographs, always the same ones.
    Labels are positions in `PHOTOGRAPHS`; crops are ordered by label. Crops of one tile overlap:
    900 test crops are less evidence than 900 independent photographs.

    Args:
        size: pixels per side.

    Returns:
        ``[4500, 3, size, size]`` float32 in [0, 1], ``[4500]`` int64, and the same with 900.

    Raises:
        FileNotFoundError: when an installed library does not carry a photograph.
    """
    generator = torch.Generator().manual_seed(_SEED)
    photos = [read_photo(name) for name in PHOTOGRAPHS]
    splits: list[Tensor] = []
    for count, test in ((_TRAIN_COUNT, False), (_TEST_COUNT, True)):
        crops = [
            crop_tiles(photo, count, test=test, size=size, generator=generator) for photo in photos
        ]
        splits += [torch.cat(crops), torch.arange(len(photos)).repeat_interleave(count)]
    return splits[0], splits[1], splits[2], splits[3]


def read_photo(name: str) -> Tensor:
    """Returns a photograph of `PHOTOGRAPHS`, ``[3, H, W]`` float32 in [0, 1].

    Of the retina only the square of 65 % side inside its circle is kept: around that all is black.

    Raises:
        FileNotFoundError: when the installed library does not carry it.
    """
    package, file = _FILES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the photograph {name} needs the package {package}: install it.")
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise FileNotFoundError(
            f"the installed {package} carries no photograph {file}: install {package} from its "
            "wheel, whose data folder has it."
        )
    with Image.open(path) as image:
        photo = transforms.to_dtype(transforms.pil_to_tensor(image), torch.float32, scale=True)
    if name == "retina":
        photo = transforms.center_crop(photo, [int(0.65 * photo.shape[1])])
    return photo


def crop_tiles(
    photo: Tensor, count: int, *, test: bool, size: int, generator: torch.Generator
) -> Tensor:
    """Returns random square crops of the training or the test tiles, ``[count, 3, size, size]``.

    Tile, place and side are uniform; the side is between 1/8 and 1/5 of the photograph's shorter
    side. No pixel is in both a training crop and a test crop.

    Args:
        photo: ``[3, H, W]`` in [0, 1].
        count: how many crops.
        test: whether to crop the test tiles.
        size: pixels per side after resizing.
        generator: of the crops.

    Raises:
        ValueError: for a photograph with too small tiles.
    """
    height, width = photo.shape[1] // _ROWS, photo.shape[2] // _COLUMNS
    shorter = min(photo.shape[1:])
    if shorter // 5 > min(height, width) - _GAP:
        raise ValueError(
            f"the photograph must be at least 320 pixels wide and 240 high, "
            f"got {photo.shape[2]} x {photo.shape[1]}."
        )
    every = [(row, column) for row in range(_ROWS) for column in range(_COLUMNS)]
    tiles = [tile for tile in every if (tile in _TEST_TILES) == test]
    crops = []
    for which, side, top, left in torch.rand(count, 4, generator=generator).tolist():
        row, column = tiles[int(which * len(tiles))]
        pixels = shorter // 8 + int(side * (shorter // 5 - shorter // 8 + 1))
        y = row * height + _GAP // 2 + int(top * (height - _GAP - pixels + 1))
        x = column * width + _GAP // 2 + int(left * (width - _GAP - pixels + 1))
        crops.append(transforms.resized_crop(photo, y, x, pixels, pixels, [size, size]))
    return torch.stack(crops).clamp(0, 1)
