"""The Jacobian of the equal-order equations by a kernel of our own, three to four times as fast as the generated one.

The form compiler expands every pair of components and derivatives by itself; ``tangent.c`` forms the gradients once a
point and adds whole rows. It holds the cell terms of `terms.EQUAL_ORDER` for a constant viscosity (the facet terms stay
forms), and a test holds it against the derivative of those terms. Why: docs/decisions/0015-tangent-kernel.md.
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
SOURCE = Path(__file__).with_suffix(".c")
ARGUMENTS = "(double *, const double *, const double *, const double *, const int *, const uint8_t *, void *)"
PAIRS = ((2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2))
"""Second derivatives as Basix counts them, in the order of the kernel."""
VECTOR = 4
"""Numbers a vector register holds: rows of tables are filled up to a multiple of it."""


def form(space: Any, functions: Sequence[Any], constants: Sequence[Any], quadrature: int) -> Any:  # noqa: ANN401
    """The cell terms as a DOLFINx form (collective).

    Args:
        space: Blocked space of velocity and pressure, of equal order.
        functions: State, advecting velocity, velocity in the stabilisation parameter.
        constants: Viscosity, the switch from Picard's to Newton's derivative, inverse CFL number.
        quadrature: Degree of the quadrature rule.
    """
    mesh = space.mesh
    source = _tables(space.element.basix_element, mesh, quadrature) + SOURCE.read_text()
    module = native.load(mesh.comm, "tangent", f"void tangent{ARGUMENTS};", source)
    kernel = int(module.ffi.cast("uintptr_t", module.ffi.addressof(module.lib, "tangent")))
    cells = np.arange(mesh.topology.index_map(3).size_local, dtype=np.int32)
    integrals = {
        dolfinx.fem.IntegralType.cell: [
            (0, kernel, cells, np.arange(len(functions), dtype=np.int8))
        ]
    }
    made = dolfinx.fem.form_cpp_class(np.float64)(
        [space._cpp_object, space._cpp_object],
        integrals,
        [function._cpp_object for function in functions],
        [constant._cpp_object for constant in constants],
        False,
        [],
        mesh._cpp_object,
    )
    return dolfinx.fem.Form(made, module=module)


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
