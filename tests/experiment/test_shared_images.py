import pickle

import torch

from modelgif.data.data import load_data
from modelgif.experiment.shared_images import read_shared, share_images


def test_images_reach_another_process_as_they_were():
    digits = load_data("digits")
    with share_images(digits, 2) as source:
        sent = pickle.dumps(source)
        assert len(sent) < 1000
        assert read_shared(pickle.loads(sent)).sha256() == digits.sha256()
        path = source.path
    assert not path.parent.exists()


def test_one_process_needs_no_file():
    digits = load_data("digits")
    with share_images(digits, 1) as source:
        assert source is digits
    assert torch.equal(read_shared(source).test_labels, digits.test_labels)
