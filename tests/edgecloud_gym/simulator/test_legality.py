"""What may be assigned to which node."""

import numpy as np
import pytest
import torch

from edgecloud_gym.simulator.legality import PartialAction, assign_lowest, legal_pairs


@pytest.mark.parametrize(
    ("scores", "edge", "cloud", "action"),
    [
        ([3.0, 1.0, 2.0, 0.0], 2, 1, [0, 1, 2, 1]),
        ([0.0, 0.0, 0.0, 0.0], 1, 2, [1, 2, 2, 0]),
        ([0.0, 0.0, 0.0, -9.0], 0, 1, [2, 0, 0, 0]),
        ([0.0, 0.0, 0.0, -9.0], 9, 9, [1, 1, 1, 0]),
    ],
)
def test_assign_lowest(scores, edge, cloud, action):
    present = np.array([[True, True, True, scores[3] > -9]])
    result = assign_lowest(np.array([scores]), present, np.array([[edge, cloud]]))
    assert result.tolist() == [action]


def test_numpy_and_torch_agree_on_what_is_legal() -> None:
    unassigned = np.array([[True, False, True], [False, True, True]])
    room = np.array([[2, 0], [1, 3]])
    expected = [
        [[1, 0], [0, 0], [1, 0]],
        [[0, 0], [1, 1], [1, 1]],
    ]
    legal = legal_pairs(unassigned, room)
    assert legal.dtype == np.bool_
    assert legal.astype(int).tolist() == expected
    tensors = legal_pairs(torch.tensor(unassigned).float(), torch.tensor(room).float())
    assert tensors.tolist() == expected


def test_a_partial_action_takes_room_and_candidates() -> None:
    partial = PartialAction(lanes=1, candidates=3)
    assert not partial.legal().any()
    partial.begin(np.array([[True, True, False]]), np.array([[1, 1]]))
    partial.assign(0, 1, 0)
    assert partial.picks.tolist() == [[0, 1, 0]]
    assert partial.legal().tolist() == [[[False, True], [False, False], [False, False]]]
    partial.assign(0, 0, 1)
    assert partial.picks.tolist() == [[2, 1, 0]]
    assert not partial.legal().any()
