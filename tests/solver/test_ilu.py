"""The incomplete factors against the textbook's algorithm, block by block in double precision.

They are kept with eight significant bits: a half of the last one is `HALF` of a number.
"""

import numpy as np
import pytest
from scipy.sparse import csr_array, kron

from solver.engine import PETSc
from solver.ilu import IncompleteFactors

HALF = 2.0**-9


def _pattern(n, links, random):
    """A symmetric pattern with a full diagonal."""
    G = np.eye(n, dtype=bool)
    for _ in range(links):
        i, j = random.integers(n, size=2)
        G[i, j] = G[j, i] = True
    return G


def _matrix(G, random):
    """Random blocks of four on a pattern, diagonally dominant; dense."""
    M = random.normal(size=(4 * len(G), 4 * len(G))) * np.kron(G, np.ones((4, 4)))
    return M + 12.0 * np.eye(len(M))


def _petsc(M, G):
    full = csr_array(kron(csr_array(G.astype(float)), np.ones((4, 4))))
    full.sort_indices()
    rows = np.repeat(np.arange(len(M)), np.diff(full.indptr))
    csr = full.indptr.astype(np.int32), full.indices.astype(np.int32), M[rows, full.indices]
    A = PETSc.Mat().createAIJ(M.shape, csr=csr)
    A.setBlockSize(4)
    return A.convert("baij", PETSc.Mat())


def _preconditioner(A):
    pc = PETSc.PC().create()
    pc.setOperators(A)
    pc.setType("python")
    factors = IncompleteFactors()
    pc.setPythonContext(factors)
    pc.setUp()
    return pc, factors


def _textbook(M, G, order):
    """Saad's algorithm 10.5 (fill of level one) on blocks, in an order of elimination; the dense inverse of L U."""
    n = len(G)
    p = (4 * np.asarray(order)[:, None] + np.arange(4)).ravel()
    W, level = M[np.ix_(p, p)].copy(), np.where(G[np.ix_(order, order)], 0, 9)

    def block(i, j):
        return slice(4 * i, 4 * i + 4), slice(4 * j, 4 * j + 4)

    for i in range(n):
        for k in range(i):
            if level[i, k] > 1:
                continue
            W[block(i, k)] = W[block(i, k)] @ np.linalg.inv(W[block(k, k)])
            for j in range(k + 1, n):
                level[i, j] = min(level[i, j], level[i, k] + level[k, j] + 1)
                W[block(i, j)] -= W[block(i, k)] @ W[block(k, j)]
        for j in range(n):
            if level[i, j] > 1:
                W[block(i, j)] = 0.0
    L = np.tril(W, -1) * (1 - np.kron(np.eye(n), np.ones((4, 4)))) + np.eye(4 * n)
    U = W * np.kron(np.triu(np.ones((n, n))), np.ones((4, 4)))
    back = np.empty_like(M)
    back[np.ix_(p, p)] = np.linalg.inv(L @ U)
    return back


def _columns(apply, n):
    """The dense matrix of what is applied to vectors."""
    x, y = PETSc.Vec().createSeq(n), PETSc.Vec().createSeq(n)
    made = np.empty((n, n))
    for k in range(n):
        x.array[:] = np.eye(n)[k]
        apply(x, y)
        made[:, k] = y.array_r
    return made


@pytest.mark.parametrize("links", [0, 10, 40, 400])
def test_factors_are_the_textbooks(links):
    """To some roundings, for sparse and full patterns; the transpose is that of the same factors."""
    random = np.random.default_rng(links)
    G = _pattern(20, links, random)
    M = _matrix(G, random)
    pc, factors = _preconditioner(_petsc(M, G))
    order = factors.natural
    assert sorted(order) == list(range(20))
    wanted = _textbook(M, G, order)
    got = _columns(pc.apply, len(M))
    assert np.abs(got - wanted).max() < 3 * HALF * np.abs(wanted).max()
    turned = _columns(pc.applyTranspose, len(M))
    assert np.abs(turned - got.T).max() < 1e-5 * np.abs(wanted).max()
    assert factors.singular == 0


def test_factors_of_few_bits_are_exact():
    """Small whole numbers over powers of two: nothing is rounded, the factors are right to single precision."""
    random = np.random.default_rng(2)
    n = 9
    full = np.ones((n, n), dtype=bool)
    _, before = _preconditioner(_petsc(_matrix(full, random), full))
    p = (4 * np.asarray(before.natural)[:, None] + np.arange(4)).ravel()
    blocks = np.kron(np.ones((n, n)), np.ones((4, 4)))
    below = np.kron(np.tril(np.ones((n, n)), -1), np.ones((4, 4)))
    L = np.eye(4 * n) + below * random.integers(-1, 2, blocks.shape)
    U = 4.0 * np.eye(4 * n) + below.T * random.integers(-1, 2, blocks.shape)
    M = np.empty_like(L)
    M[np.ix_(p, p)] = L @ U
    pc, factors = _preconditioner(_petsc(M, full))
    assert list(factors.natural) == list(before.natural)
    wanted = np.linalg.inv(M)
    got = _columns(pc.apply, len(M))
    assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_new_numbers_give_new_factors():
    """The same matrix with other numbers: set up again by PETSc, as after every assembly."""
    random = np.random.default_rng(5)
    G = _pattern(12, 400, random)
    A = _petsc(_matrix(G, random), G)
    pc, _ = _preconditioner(A)
    A.scale(2.0)
    pc.setUp()
    x, y = A.createVecs()
    x.setRandom()
    pc.apply(x, y)
    assert (A * y - x).norm() < 3 * HALF * x.norm()  # the pattern is full: nothing is left out


def test_a_singular_block_is_counted_and_left_out():
    """A diagonal block of zeros stands for the identity; the others are as they would be."""
    A = _petsc(np.diag([2.0] * 4 + [0.0] * 4 + [4.0] * 4), np.eye(3, dtype=bool))
    pc, factors = _preconditioner(A)
    assert factors.singular == 1
    got = np.diag(_columns(pc.apply, 12))
    assert got == pytest.approx([0.5] * 4 + [1.0] * 4 + [0.25] * 4)
