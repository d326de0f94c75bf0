"""The equal-order equations by kernels of our own, three to four times as fast as the generated ones.

The form compiler expands every pair of components and derivatives by itself; ``equal_order.c`` forms the gradients once
a point and adds whole rows. It holds the cell terms of `terms.EQUAL_ORDER` for a constant viscosity, steady or with an
acceleration (the facet terms stay forms), and tests hold it against those terms and their derivative. Why:
docs/decisions/0015-tangent-kernel.md, 0018-blocks-in-place.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from solver import native, terms
from solver.engine import basix, dolfinx

Array = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int32]
SOURCE = Path(__file__).with_suffix(".c")
ARGUMENTS = "(double *, const double *, const double *, const double *, const int *, const uint8_t *, void *)"
DECLARATIONS = f"""
void residual{ARGUMENTS};
void tangent{ARGUMENTS};
void add_residual(int count, const int *nodes, const int *geometry, const double *coordinates, double **functions,
                  const double *constants, double *value);
void add_tangent(int count, const int *nodes, const int *geometry, const double *coordinates, double **functions,
                 const double *constants, const int *cell, const int *where, double *value);
"""
PAIRS = ((2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2))
"""Second derivatives as Basix counts them, in the order of the kernel."""
VECTOR = 4
"""Numbers a vector register holds: rows of tables are filled up to a multiple of it."""


class CellTerms:
    """The cell terms of one element on one mesh.

    Attributes:
        space: Blocked space of velocity and pressure, of equal order.
        functions: State, advecting velocity, velocity in the stabilisation parameter, history of the acceleration.
        constants: Viscosity, the switch from Picard's to Newton's derivative, inverse CFL number, one over the time
            step (zero in the steady state).
        cells: This rank's cells.
        nodes: Nodes of each cell, ``(m, n)``.
        inside: This rank's cells all of whose nodes are its own.
        edge: Its other cells.
    """

    def __init__(
        self,
        space: Any,  # noqa: ANN401
        functions: Sequence[Any],
        constants: Sequence[Any],
        quadrature: int,
    ) -> None:
        """Compile (collective); ``quadrature`` is the degree of the rule."""
        mesh = space.mesh
        self.space, self.functions, self.constants = space, functions, constants
        source = _tables(space.element.basix_element, mesh, quadrature) + SOURCE.read_text()
        self.module = native.load(mesh.comm, "equal_order", DECLARATIONS, source)
        self.cells = np.arange(mesh.topology.index_map(3).size_local, dtype=np.int32)
        self.nodes = np.ascontiguousarray(space.dofmap.list, np.int32)
        self.corners = np.ascontiguousarray(mesh.geometry.dofmap, np.int32)
        mine = (self.nodes[self.cells] < space.dofmap.index_map.size_local).all(axis=1)
        self.inside, self.edge = self.cells[mine], self.cells[~mine]

    def tangent(self, cells: Cells) -> Any:  # noqa: ANN401
        """The Jacobian as a form, on some of this rank's cells (collective)."""
        return self._form("tangent", [self.space] * 2, cells)

    def add_residual(self, values: Array) -> None:
        """Add the residual of this rank's cells to a vector over all local unknowns."""
        self.module.lib.add_residual(len(self.cells), *self._given(), self._double(values))

    def add_tangent(self, where: Cells, values: Any) -> None:  # noqa: ANN401
        """Add the Jacobian of the cells inside to a matrix of 4 x 4 blocks, each stored column by column.

        Args:
            where: Which block belongs to each pair of nodes of each cell inside, ``(m, n, n)``.
            values: The matrix's numbers (a C pointer).
        """
        self.module.lib.add_tangent(
            len(self.inside), *self._given(), self._int(self.inside), self._int(where), values
        )

    def _given(self) -> tuple[Any, ...]:
        """What both take: nodes, geometry, coefficients, constants."""
        functions = [self._double(function.x.array) for function in self.functions]
        return (
            self._int(self.nodes),
            self._int(self.corners),
            self._double(self.space.mesh.geometry.x),
            self.module.ffi.new("double *[]", functions),
            [float(constant.value) for constant in self.constants],
        )

    def _int(self, values: Cells) -> Any:  # noqa: ANN401
        return self.module.ffi.cast("int *", values.ctypes.data)

    def _double(self, values: Array) -> Any:  # noqa: ANN401
        return self.module.ffi.cast("double *", values.ctypes.data)

    def _form(self, name: str, spaces: list[Any], cells: Cells) -> Any:  # noqa: ANN401
        active = np.arange(len(self.functions), dtype=np.int8)
        ffi = self.module.ffi
        kernel = int(ffi.cast("uintptr_t", ffi.addressof(self.module.lib, name)))
        integrals = {dolfinx.fem.IntegralType.cell: [(0, kernel, cells, active)]}
        made = dolfinx.fem.form_cpp_class(np.float64)(
            [space._cpp_object for space in spaces],
            integrals,
            [function._cpp_object for function in self.functions],
            [constant._cpp_object for constant in self.constants],
            False,
            [],
            self.space.mesh._cpp_object,
        )
        return dolfinx.fem.Form(made, module=self.module)


def _tables(element: Any, mesh: Any, quadrature: int) -> str:  # noqa: ANN401
    """The constants of the kernel as C."""
    points, weights = basix.make_quadrature(basix.CellType.tetrahedron, quadrature)
    shape = element.tabulate(2, points)[..., 0]
    geometry = mesh.geometry.cmaps[0]
    place = basix.create_element(
        basix.ElementFamily.P,
        basix.CellType.tetrahedron,
        geometry.degree,
        basix.LagrangeVariant(geometry.variant),
    ).tabulate(2, points)[..., 0]
    nodes = shape.shape[2]
    pad = -(-nodes // VECTOR) * VECTOR
    filled = np.zeros((*shape.shape[:2], pad))
    filled[..., :nodes] = shape
    first = [basix.index(*(np.eye(3, dtype=int)[k])) for k in range(3)]
    second = [basix.index(*pair) for pair in PAIRS]
    numbers = {
        "N": nodes,
        "VECTOR": VECTOR,
        "PAD": pad,
        "POINTS": len(points),
        "G": place.shape[2],
        "DEGREE": element.degree,
    }
    text = "".join(f"enum {{ {name} = {value} }};\n" for name, value in numbers.items())
    arrays = {
        "WEIGHT": weights,
        "PHI": filled[0],
        "DPHI": filled[first].transpose(1, 0, 2),
        "DDPHI": filled[second][:, 0],
        "DGEO": place[first].transpose(1, 0, 2),
        "DDGEO": place[second][:, 0],
        "METRIC": np.array(terms.EDGE_METRIC),
    }
    text += f"static const double C_INVERSE = {terms.C_INVERSE!r};\n"
    return text + "".join(_array(name, values) for name, values in arrays.items())


def _array(name: str, values: Array) -> str:
    size = "".join(f"[{n}]" for n in values.shape)
    return f"static const double {name}{size} = {_braces(values)};\n"


def _braces(values: Array) -> str:
    if values.ndim == 0:
        return repr(float(values))
    return "{" + ", ".join(_braces(v) for v in values) + "}"
