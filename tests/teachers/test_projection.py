"""The projection: orthonormal, the principal components, the same however the pixels were added."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from sklearn.decomposition import PCA  # noqa: E402

from cutis.teachers.projection import Projection, ProjectionFit  # noqa: E402


def test_it_is_scikit_learns_pca_over_one_number(tmp_path):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(400, 7, generator=generator) @ torch.randn(7, 7, generator=generator) + 5
    fit = ProjectionFit()
    for part in pixels.split(90):
        fit.add(part)
    ours = fit.fit(3)
    theirs = PCA(3).fit(pixels.numpy())
    torch.testing.assert_close(torch.from_numpy(ours.basis.T @ ours.basis), torch.eye(3))
    np.testing.assert_allclose(np.abs(ours.basis.T @ theirs.components_.T), np.eye(3), atol=1e-3)
    assert ours.explained == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-4)
    out = ours.apply(pixels.T.reshape(1, 7, 20, 20))
    assert out.square().sum(1).mean().item() == pytest.approx(1, rel=1e-4)
    ours.save(tmp_path / "p.npz")
    torch.testing.assert_close(Projection.load(tmp_path / "p.npz").apply(pixels.T.reshape(1, 7, 20, 20)), out)
