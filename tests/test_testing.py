"""The comparisons that all other tests rest on: each must reject what it is there to reject."""

import pytest
import torch

from snnkern.testing import assert_first_flip, assert_grads_close, assert_spikes_equal


def test_equal_spikes_pass_and_one_differing_fails():
    s = (torch.rand(4, 50) > 0.5).float()
    assert_spikes_equal(s.clone(), s)
    other = s.clone()
    other[2, 7] = 1 - other[2, 7]
    with pytest.raises(AssertionError, match=r'1 of 200 values differ, first at \(2, 7\)'):
        assert_spikes_equal(other, s)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.half(), 'dtype'),
        (lambda s: s[:3], 'shape'),
        (lambda s: s.t().contiguous().t(), 'strides'),
        (lambda s: s.index_fill(0, torch.tensor([1]), torch.nan), 'values differ'),
    ],
)
def test_another_kind_of_tensor_fails(change, message):
    s = torch.ones(4, 5)
    with pytest.raises(AssertionError, match=message):
        assert_spikes_equal(change(s), s)


@pytest.mark.parametrize(
    'change',
    [
        lambda g: g * 1.0001,
        lambda g: g + 1e-4,
        lambda g: -g,
        lambda g: torch.zeros_like(g),
        lambda g: g.index_fill(0, torch.tensor([3]), torch.nan),
    ],
)
def test_wrong_gradients_fail(change):
    g = torch.randn(1000)
    assert_grads_close(g * (1 + 1e-7), g)
    with pytest.raises(AssertionError):
        assert_grads_close(change(g), g)


def test_first_flip_forgives_thresholds_only():
    h = 2 * torch.rand(6, 200)
    h[3, 5] = 1 - 1e-7
    s = (h >= 1).float()
    near = s.clone()
    near[3, 5] = 1
    near[4:, 5] = 1 - near[4:, 5]  # what follows the flip does not count
    assert_first_flip(near, s, h, 1.0)
    far = s.clone()
    h[1, 8], s[1, 8], far[1, 8] = 0.5, 0, 1
    with pytest.raises(AssertionError, match='off its threshold'):
        assert_first_flip(far, s, h, 1.0)
    with pytest.raises(AssertionError, match='neurons flip'):
        assert_first_flip(torch.ones_like(s), torch.zeros_like(s), torch.ones_like(s), 1.0)
