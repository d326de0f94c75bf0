r"""Steady axisymmetric flow through a cosine stenosis: an independent reference for the 3D solver.

An axisymmetric state cannot break the symmetry of its jet, so that its branch reaches the real viscosity where the 3D
one, on tetrahedra without symmetry, meets folds (docs/decisions/0011). Nothing of the 3D solver is used but its import
order: plain Galerkin, $Q_3$ velocity and $Q_2$ pressure, no stabilisation, Newton's method with direct solves,
continuation in the viscosity. The tube $0 \le r \le R(z)$ is mapped onto the rectangle $\eta = r/R(z)$ within the
form, so that the lumen is exact and the mesh a tensor product.

Conditions are the pipeline's (docs/decisions/0010): Poiseuille's profile times an unknown $Q$ at the inlet with the
mean pressure given, natural traction $-pn + \nu\,\partial_n u$ at the outlet up to a constant, mean outlet pressure
$p_d + RQ$, backflow term $-\beta (u\cdot n)_- u$.

At 60 % and more the reversed flow of this state reaches the outlet; the answer hardly depends on beta, but belongs to
the extension's length.

Units: mm, m/s, mL/s inside, pressures over the density [(m/s)^2]; SI in `Conditions` and `Flow` where it says so.
The table of the series: ``python tests/validation/axisymmetric.py``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from solver.engine import JIT_OPTIONS, MPI, PETSc, dolfinx, element, mixed_element, ufl

Array = npt.NDArray[np.float64]
INLET, OUTLET, WALL, AXIS = 1, 2, 3, 4
THICKEST = 8.0  # times the viscosity: where Newton's method starts, from Stokes flow
ROUNDING = 1e-3  # m/s, of the kink of the backflow term
MMHG = 133.322387415  # Pa


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight tube with a cosine narrowing and straight extensions at both ends [mm].

    Attributes:
        reduction: Of the diameter, at the throat.
        half: Half the narrowing's length.
        inlet_extension: As the anatomy stage makes it: three diameters of its polygonal cap.
    """

    reduction: float
    diameter: float = 3.0
    length: float = 45.0
    throat: float = 12.0
    half: float = 3.0
    inlet_extension: float = 8.948625
    outlet_extension: float = 8.948625

    @classmethod
    def of(cls, reduction: float, anatomy: Mapping[str, Any]) -> Self:
        """The tube of the series with the extensions of an ``anatomy.json``."""
        length = {end["role"]: end["extension_mm"] for end in anatomy["ends"]}
        return cls(reduction, inlet_extension=length["inlet"], outlet_extension=length["outlet"])

    @property
    def area(self) -> float:
        """Cross-section of the straight parts [mm^2]."""
        return math.pi * self.diameter**2 / 4

    def radius(self, z: Array) -> Array:
        """Radius [mm] at stations [mm]."""
        t = np.clip((z - self.throat) / self.half, -1, 1)
        return np.asarray(self.diameter / 2 * (1 - self.reduction / 2 * (1 + np.cos(np.pi * t))))


@dataclass(frozen=True, slots=True)
class Conditions:
    """Fluid, inlet pressure, outlet line and backflow factor, SI; the defaults are those of the series."""

    p: float = 93 * MMHG
    R: float = (93 - 5) / 50 * 60 * 0.24 * MMHG * 1e6
    pd: float = 5 * MMHG
    density: float = 1060.0
    viscosity: float = 3.5e-3
    beta: float = 0.5

    @classmethod
    def of(cls, problem: Mapping[str, Any]) -> Self:
        """Those of a ``problem.json`` with a pressure inlet and one resistance outlet."""
        (outlet,) = problem["outlets"].values()
        viscosity, beta = problem["rheology"]["viscosity"], problem["backflow_beta"]
        p = problem["inlet"]["p"]
        return cls(p, outlet["R"], outlet["pd"], problem["density"], viscosity, beta)


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells: along the radius and the narrowing (others in proportion), times a factor of refinement.

    With the default the drop of every stenosis of the series is within 5e-5 of that with a factor of 1.6.
    """

    radial: int = 12
    narrow: int = 28
    factor: float = 1.0

    def count(self, n: float) -> int:
        """Number of cells where there are ``n`` without refinement."""
        return max(2, round(n * self.factor))


@dataclass(frozen=True, slots=True)
class Flow:
    """A steady state.

    Attributes:
        tube: Where.
        conditions: Under which.
        Q: Flow [mL/s].
        z: Stations [mm] in the tube's coordinate (extensions outside of 0 to its length).
        pressure: Mean pressure over the sections at ``z`` [Pa].
        section_flow: Flow through them [mL/s].
        reversed_flow: What of it runs backwards, positive [mL/s].
        momentum: Sum of axial forces and momentum fluxes over the boundary, over (drop of the tube times area).
        energy: Sum of mechanical powers and dissipation, over (drop of the tube times Q).
        unknowns: Size of the linear system.
    """

    tube: Tube
    conditions: Conditions
    Q: float
    z: Array
    pressure: Array
    section_flow: Array
    reversed_flow: Array
    momentum: float
    energy: float
    unknowns: int

    def pressure_at(self, z: float) -> float:
        """Mean pressure [Pa] at a station [mm]."""
        return float(np.interp(z, self.z, self.pressure))

    @property
    def drop(self) -> float:
        """Pressure drop [Pa] from two diameters before to ten behind the throat."""
        before, behind = (self.tube.throat + k * self.tube.diameter for k in (-2, 10))
        return self.pressure_at(before) - self.pressure_at(behind)

    @property
    def ffr(self) -> float:
        """Pressure at the tube's end over the given one, as the pipeline has it (docs/decisions/0051)."""
        return self.pressure_at(self.tube.length) / self.conditions.p

    @property
    def mass(self) -> float:
        """Relative difference of outflow and inflow."""
        return float(abs(self.section_flow[-1] / self.section_flow[0] - 1))

    def expected(self, Kt: float) -> float:
        """`drop` [Pa] by Poiseuille's law along the lumen and an expansion's loss: Borda-Carnot 1, Young-Tsai 1.52.

        Reference: Young & Tsai (1973), https://doi.org/10.1016/0021-9290(73)90099-7.
        """
        tube, c = self.tube, self.conditions
        z = np.linspace(tube.throat - 2 * tube.diameter, tube.throat + 10 * tube.diameter, 6001)
        viscous = 8 * c.viscosity * self.Q * 1e3 / np.pi * np.trapezoid(tube.radius(z) ** -4.0, z)
        U, ratio = self.Q / tube.area, (1 - tube.reduction) ** -2
        return float(viscous + 0.5 * Kt * c.density * ((ratio - 1) * U) ** 2)


def graded(start: float, stop: float, n: int, ratio: float) -> Array:
    """``n`` cells whose lengths grow geometrically, the last ``ratio`` times the first."""
    steps = ratio ** (np.arange(n) / max(n - 1, 1))
    at = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(start + (stop - start) * at / at[-1])


def stations(tube: Tube, grid: Grid) -> Array:
    """Ends of the cells along the axis [mm]; the narrowing's ends are among them."""
    a, b = tube.throat - tube.half, tube.throat + tube.half
    end = tube.length + tube.outlet_extension
    parts = (
        graded(-tube.inlet_extension, a, grid.count(0.5 * grid.narrow), 0.15),
        graded(a, tube.throat, grid.count(0.5 * grid.narrow), 0.3),
        graded(tube.throat, b, grid.count(0.5 * grid.narrow), 2.0),
        graded(b, end, grid.count(2.5 * grid.narrow), 4.0),
    )
    return np.unique(np.concatenate(parts).round(12))


def rectangle(tube: Tube, grid: Grid) -> tuple[Any, Any]:
    """The mesh in (eta, z), denser towards the wall, and its boundary tags."""
    z, n = stations(tube, grid), grid.count(grid.radial)
    t = np.linspace(0, 1, n + 1)
    eta = t + 0.12 * np.sin(math.pi * t) / math.pi * (1 + t)
    mesh = dolfinx.mesh.create_rectangle(
        MPI.COMM_SELF,
        [[0.0, 0.0], [1.0, 1.0]],
        [n, len(z) - 1],
        dolfinx.mesh.CellType.quadrilateral,
    )
    x = mesh.geometry.x
    x[:, 0] = eta[np.rint(x[:, 0] * n).astype(int)]
    x[:, 1] = z[np.rint(x[:, 1] * (len(z) - 1)).astype(int)]
    sides = ((INLET, 1, z[0]), (OUTLET, 1, z[-1]), (WALL, 0, 1.0), (AXIS, 0, 0.0))
    found = [
        dolfinx.mesh.locate_entities_boundary(
            mesh, 1, lambda p, i=i, value=value: abs(p[i] - value) < 1e-9
        )
        for _, i, value in sides
    ]
    facets = np.concatenate(found)
    tags = np.repeat([side[0] for side in sides], [len(f) for f in found]).astype(np.int32)
    order = np.argsort(facets)
    return mesh, dolfinx.mesh.meshtags(mesh, 1, facets[order], tags[order])


class Problem:
    """The discrete equations of one tube on one grid."""

    def __init__(self, tube: Tube, conditions: Conditions, grid: Grid) -> None:
        self.tube, self.conditions = tube, conditions
        self.mesh, self.tags = rectangle(tube, grid)
        V = element("Lagrange", "quadrilateral", 3, shape=(2,))
        P = element("Lagrange", "quadrilateral", 2)
        self.W = dolfinx.fem.functionspace(self.mesh, mixed_element([V, P]))
        self.state = dolfinx.fem.Function(self.W)
        self.nu = dolfinx.fem.Constant(self.mesh, 1.0)
        data = {"quadrature_degree": 9}
        self.dx = ufl.Measure("dx", domain=self.mesh, metadata=data)
        self.ds = ufl.Measure("ds", domain=self.mesh, subdomain_data=self.tags, metadata=data)
        self.eta, z = ufl.SpatialCoordinate(self.mesh)
        inside = ufl.lt(abs(z - tube.throat), tube.half)
        t, depth = math.pi * (z - tube.throat) / tube.half, tube.diameter / 4 * tube.reduction
        self.R = tube.diameter / 2 - ufl.conditional(inside, depth * (1 + ufl.cos(t)), 0.0)
        self.slope = ufl.conditional(inside, depth * math.pi / tube.half * ufl.sin(t), 0.0)
        self.weight = self.eta * self.R**2  # r dr dz over d(eta) dz
        self._compile()
        self._fix()

    def grad(self, f: Any) -> Any:
        """Derivatives of a scalar with respect to r and z."""
        along = f.dx(0) / self.R
        return ufl.as_vector((along, f.dx(1) - self.eta * self.slope * along))

    def div(self, u: Any) -> Any:
        """Divergence of an axisymmetric velocity."""
        return self.grad(u[0])[0] + u[0] / (self.eta * self.R) + self.grad(u[1])[1]

    def dissipation(self, u: Any, v: Any) -> Any:
        """Gradient of u with gradient of v, the hoop's part with it."""
        hoop = u[0] * v[0] / (self.eta * self.R) ** 2
        return sum(ufl.inner(self.grad(u[i]), self.grad(v[i])) for i in (0, 1)) + hoop

    def _compile(self) -> None:
        """The residual, its derivatives by state and flow, and the drop of the mean pressure as a functional."""
        u, p = ufl.split(self.state)
        v, q = ufl.TestFunctions(self.W)
        advection = sum(ufl.inner(self.grad(u[i]), u) * v[i] for i in (0, 1))
        advection += 0.5 * self.div(u) * ufl.inner(u, v)
        volume = advection + self.nu * self.dissipation(u, v) - p * self.div(v) + q * self.div(u)
        inward = 0.5 * (u[1] - ufl.sqrt(u[1] ** 2 + ROUNDING**2))
        back = -self.conditions.beta * inward * ufl.inner(u, v)
        F = volume * self.weight * self.dx + back * self.weight * self.ds(OUTLET)
        self.profile = dolfinx.fem.Function(self.W)
        J = ufl.derivative(F, self.state)
        self.F, self.J = _form(F), _form(J)
        self.dQ = _form(ufl.action(J, self.profile))
        mean = [_vector(_form(2 * self.eta * q * self.ds(tag))) for tag in (INLET, OUTLET)]
        self.drop = mean[0] - mean[1]

    def _fix(self) -> None:
        """The velocities without freedom, and the inlet's profile for a unit flow."""
        V = self.W.sub(0)
        found = {
            (tag, i): dolfinx.fem.locate_dofs_topological(V.sub(i), 1, self.tags.find(tag))
            for tag, i in ((INLET, 0), (INLET, 1), (WALL, 0), (WALL, 1), (AXIS, 0))
        }
        self.fixed = np.unique(np.concatenate(list(found.values()))).astype(np.int32)
        self.bc = dolfinx.fem.dirichletbc(dolfinx.fem.Function(self.W), self.fixed)
        eta = self.coordinates(V.sub(1))
        on = found[INLET, 1]
        self.profile.x.array[on] = 2 * (1 - eta[on, 0] ** 2) / self.tube.area

    def coordinates(self, sub: Any) -> Array:
        """(eta, z) of a scalar subspace's unknowns in the numbering of W; NaN elsewhere."""
        S, where = sub.collapse()
        out = np.full((len(self.state.x.array), 2), np.nan)
        out[np.asarray(where)] = S.tabulate_dof_coordinates()[:, :2]
        return out

    def imbalance(self, Q: float) -> float:
        """Given inlet pressure less that of drop, outlet and Q, over the density [(m/s)^2]."""
        c = self.conditions
        return float((c.pd + c.R * Q * 1e-6 - c.p) / c.density + self.drop @ self.state.x.array)

    def newton(self, Q: float, thickening: float, limit: int = 9) -> float | None:
        """Newton's method in the state and the flow at a multiple of the viscosity; None if it does not converge."""
        x, c = self.state.x.array, self.conditions
        self.nu.value = thickening * c.viscosity / c.density * 1e3  # [mm m/s]
        for _ in range(limit):
            base = _vector(self.F)
            border = _vector(self.dQ)
            base[self.fixed] = border[self.fixed] = 0.0
            y, w = _solve(self.J, self.bc, (-base, -border))
            w += self.profile.x.array
            resistance = c.R * 1e-6 / c.density
            gap = self.imbalance(Q) + self.drop @ y
            step = -float(gap / (self.drop @ w + resistance))
            change = y + step * w
            x += change
            Q += step
            size = float(np.linalg.norm(change) / np.linalg.norm(x))
            if size < 1e-9:
                return Q
            if not size < 1e3:
                return None
        return None

    def follow(self, thickenings: Iterable[float]) -> Iterator[float]:
        """Go from a thick fluid down to each multiple of the viscosity in turn; yield Q [mL/s], the state is in place.

        Raises:
            RuntimeError: The branch cannot be followed with steps of a thousandth in ln(viscosity).
        """
        self.state.x.array[:] = 0.0
        at, step, Q = math.log(THICKEST), 0.7, self.newton(0.0, THICKEST, 30)
        if Q is None:
            raise RuntimeError("Newton's method fails from rest")
        slope: Array = np.zeros_like(self.state.x.array)
        slope_Q = 0.0
        for goal in map(math.log, thickenings):
            while at > goal + 1e-12:
                x, down = self.state.x.array.copy(), max(at - step, goal)
                self.state.x.array[:] += (down - at) * slope
                found = self.newton(Q + (down - at) * slope_Q, math.exp(down))
                if found is not None:
                    slope, slope_Q = (
                        (self.state.x.array - x) / (down - at),
                        (found - Q) / (down - at),
                    )
                    at, Q = down, found
                    continue
                self.state.x.array[:] = x
                step *= 0.5
                if step < 1e-3:
                    raise RuntimeError(f"the branch ends at {math.exp(at):.4f} times the viscosity")
            yield Q

    def measure(self, Q: float) -> Flow:
        """Section means and balances of the present state."""
        density, x = self.conditions.density, self.state.x.array
        p_at, u_at = self.coordinates(self.W.sub(1)), self.coordinates(self.W.sub(0).sub(1))
        z, eta, p = _table(p_at, x)
        pressure = density * 2 * (p * eta) @ _weights(eta, (1 / 6, 4 / 6))
        zu, eta_u, u = _table(u_at, x)
        weights = eta_u * _weights(eta_u, (1 / 12, 5 / 12, 5 / 12))
        flow, back = (
            2 * math.pi * self.tube.radius(zu) ** 2 * (v @ weights) for v in (u, np.maximum(-u, 0))
        )
        momentum, energy = self._balances()
        drop = float(self.drop @ x)
        return Flow(
            tube=self.tube,
            conditions=self.conditions,
            Q=float(Q),
            z=z,
            pressure=pressure + self.conditions.p - pressure[0],
            section_flow=np.interp(z, zu, flow),
            reversed_flow=np.interp(z, zu, back),
            momentum=float(momentum / (drop * self.tube.area)),
            energy=float(energy / (drop * Q)),
            unknowns=len(x),
        )

    def _balances(self) -> tuple[float, float]:
        """Sum of axial forces and momentum fluxes, and of powers, over the whole boundary (zero if exact)."""
        u, p = ufl.split(self.state)
        weight = 2 * math.pi * self.weight
        momentum: Any = 0
        energy: Any = self.nu * self.dissipation(u, u) * weight * self.dx
        for tag, sign in ((INLET, -1.0), (OUTLET, 1.0)):
            shear = [self.nu * self.grad(u[i])[1] for i in (0, 1)]
            momentum += sign * (u[1] ** 2 + p - shear[1]) * weight * self.ds(tag)
            work = (0.5 * ufl.inner(u, u) + p) * u[1] - shear[0] * u[0] - shear[1] * u[1]
            energy += sign * work * weight * self.ds(tag)
        slope = self.grad(u[1])
        wall = -p * self.slope - self.nu * (slope[0] - self.slope * slope[1])
        momentum += wall * 2 * math.pi * self.R * self.ds(WALL)
        parts = [dolfinx.fem.assemble_scalar(_form(form)) for form in (momentum, energy)]
        return float(parts[0]), float(parts[1])


def _form(form: Any) -> Any:
    return dolfinx.fem.form(form, jit_options=JIT_OPTIONS)


def _vector(form: Any) -> Array:
    return np.array(dolfinx.fem.assemble_vector(form).array)


def _solve(J: Any, bc: Any, sides: tuple[Array, ...]) -> list[Array]:
    """Solve with the matrix of a form for some right-hand sides, directly."""
    A = dolfinx.fem.petsc.assemble_matrix(J, [bc])
    A.assemble()
    ksp = PETSc.KSP().create(A.comm)
    ksp.setOperators(A)
    ksp.setType("preonly")
    pc = ksp.getPC()
    pc.setType("lu")
    pc.setFactorSolverType("mumps")
    pc.setFactorSetUpSolverType()
    pc.getFactorMatrix().setMumpsIcntl(14, 100)
    found = []
    for side in sides:
        b, y = A.createVecRight(), A.createVecLeft()
        b.array[:] = side
        ksp.solve(b, y)
        found.append(np.array(y.array_r))
        b.destroy()
        y.destroy()
    ksp.destroy()
    A.destroy()
    return found


def _table(at: Array, x: Array) -> tuple[Array, Array, Array]:
    """Stations z, radii eta and the values ``(len(z), len(eta))`` of a scalar on a tensor product of nodes."""
    own = np.flatnonzero(np.isfinite(at[:, 0]))
    order = own[np.lexsort(at[own].round(9).T)]
    eta = np.unique(at[own, 0].round(9))
    return at[order[:: len(eta)], 1], eta, x[order].reshape(-1, len(eta))


def _weights(eta: Array, first: tuple[float, ...]) -> Array:
    """Weights of the composite rule whose cells have the nodes' fractions ``first`` and again the first at the end."""
    n = len(first)
    w = np.zeros(len(eta))
    for k in range(0, len(eta) - 1, n):
        h = eta[k + n] - eta[k]
        w[k : k + n + 1] += h * np.array([*first, first[0]])
    return w


def solve(tube: Tube, conditions: Conditions | None = None, grid: Grid | None = None) -> Flow:
    """The steady axisymmetric flow through a tube at the real viscosity."""
    problem = Problem(tube, conditions or Conditions(), grid or Grid())
    (Q,) = problem.follow([1.0])
    return problem.measure(Q)


def main() -> None:
    """Print the series on two grids, with a longer extension and another backflow factor."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("percent", nargs="*", type=int, default=[30, 40, 50, 60, 70, 80])
    parser.add_argument("--factor", type=float, default=1.6, help="refinement of the second grid")
    arguments = parser.parse_args()
    print(  # noqa: T201
        "  %  variant     unknowns  Q mL/s   drop Pa  /Borda-Carnot /Young-Tsai   FFR   "
        "mass    momentum energy  reversed from to [mm]  at the outlet"
    )
    for percent in arguments.percent:
        tube = Tube(percent / 100)
        for name, case in {
            "grid": (tube, Conditions(), Grid()),
            "fine grid": (tube, Conditions(), Grid(factor=arguments.factor)),
            "beta 1": (tube, Conditions(beta=1.0), Grid()),
            "long tube": (replace(tube, outlet_extension=60.0), Conditions(), Grid(factor=1.2)),
        }.items():
            print(f"{percent:3d}  {name:10s}", _row(solve(*case)), flush=True)  # noqa: T201


def _row(flow: Flow) -> str:
    back = flow.z[flow.reversed_flow > 1e-9 * flow.Q]
    stretch = f"{back[0]:6.2f} {back[-1]:6.2f}" if len(back) else 13 * "-"
    return (
        f"{flow.unknowns:8d}  {flow.Q:7.4f}  {flow.drop:9.2f}  {flow.drop / flow.expected(1.0):7.4f}  "
        f"{flow.drop / flow.expected(1.52):7.4f}  {flow.ffr:8.5f}  {flow.mass:.1e} {flow.momentum:8.1e} "
        f"{flow.energy:8.1e}  {stretch}  {flow.reversed_flow[-1] / flow.Q:.4f}"
    )


if __name__ == "__main__":
    main()
