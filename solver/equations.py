"""The residual and the Jacobian of one element on one mesh, compiled: steady, with capturing viscosity, or in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from solver import boundary, terms
from solver.engine import JIT_OPTIONS, dolfinx, ufl
from solver.equal_order import CellTerms
from solver.io.mesh import FlowMesh
from solver.problem import FlowProblem
from solver.scales import Scales
from solver.spaces import Space

QUADRATURE = {1: 2, 2: 4}


@dataclass(frozen=True, slots=True)
class Compiled:
    """What is assembled.

    Attributes:
        residual: Form of the residual; with ``cells``, of its terms on facets.
        jacobian: Forms that add up to the Jacobian, but for the terms in ``cells.inside``.
        cells: The terms in cells, where kernels of our own have them.
    """

    residual: Any
    jacobian: tuple[Any, ...]
    cells: CellTerms | None


class Equations:
    """Unknowns and coefficients of the equations of a flow problem, and their forms.

    Attributes:
        x: The state (velocity and pressure).
        advecting: State whose velocity advects.
        frozen: State inside the stabilisation parameters.
        history: ``h`` of the acceleration ``(3/2 u - h) / dt``.
        nu: Viscosity over that of a Reynolds number of one.
        strength: Coefficient of `terms.capturing`.
        newton: One for Newton's derivative, zero for Picard's.
        inverse_cfl: Inverse of the pseudo-time step.
        rate: One over the time step; zero in the steady state.
    """

    def __init__(self, problem: FlowProblem, mesh: FlowMesh, scales: Scales, space: Space) -> None:
        self.problem, self.mesh, self.scales, self.space = problem, mesh, scales, space
        self.x, self.advecting, self.frozen, self.history = (
            dolfinx.fem.Function(space.W) for _ in range(4)
        )
        start = (1.0 / scales.reynolds, terms.CAPTURING, 0.0, 0.0, 0.0)
        constants = (dolfinx.fem.Constant(mesh.mesh, value) for value in start)
        self.nu, self.strength, self.newton, self.inverse_cfl, self.rate = constants
        self.cells: CellTerms | None = None
        if space.equal_order and not problem.rheology.varies:
            functions = (self.x, self.advecting, self.frozen, self.history)
            numbers = (self.nu, self.newton, self.inverse_cfl, self.rate)
            self.cells = CellTerms(space.W, functions, numbers, QUADRATURE[space.degree])
        self.steady = self._compile(self._model(), self.fields())

    @property
    def dx(self) -> Any:  # noqa: ANN401
        """Cell measure with the rule of the element."""
        data = {"quadrature_degree": QUADRATURE[self.space.degree]}
        return ufl.Measure("dx", domain=self.mesh.mesh, metadata=data)

    def fields(self, *, marching: bool = False) -> terms.Fields:
        """What the terms use."""
        space, ds = self.space, boundary.measure(self.mesh, self.space)
        u, p = space.split(self.x)
        v, q = space.split(ufl.TestFunction(space.W))
        w, _ = space.split(self.advecting)
        f, g = space.split(self.frozen)
        h, _ = space.split(self.history)
        smooth = boundary.tags(self.mesh, "slip")
        rheology = self.problem.rheology
        return terms.Fields(
            u=u,
            p=p,
            v=v,
            q=q,
            w=w,
            f=f,
            acceleration=self.rate * (1.5 * u - h) if marching else None,
            force=None,
            nu=self.nu * self.thinning() if rheology.varies else self.nu,
            beta=dolfinx.fem.Constant(self.mesh.mesh, self.problem.backflow_beta),
            degree=space.degree,
            dx=self.dx,
            ds_open=ds(boundary.tags(self.mesh, "outlet")),
            g=g,
            capture=self.strength,
            ds_slip=ds(smooth) if smooth else None,
            varies=rheology.varies,
        )

    def thinning(self) -> Any:  # noqa: ANN401
        """Viscosity of the state over the reference one, a UFL expression (a number where it does not vary)."""
        if not self.problem.rheology.varies:
            return 1.0
        u, _ = self.space.split(self.x)
        unit = self.scales.velocity / self.scales.length
        return self.problem.rheology.ratio(unit * terms.shear_rate(u))

    def capturing(self) -> Compiled:
        """The steady equations with the viscosity that `terms.capturing` puts where the mesh is too coarse."""
        return self._compile(self._model(terms.capturing), self.fields())

    def marching(self) -> Compiled:
        """The equations with an acceleration; the kernels of our own have it already, times a rate of zero."""
        if self.cells is not None:
            return self.steady
        return self._compile(self._model(terms.inertia), self.fields(marching=True))

    def everywhere(self) -> Any:  # noqa: ANN401
        """A form with an entry wherever a Jacobian may have one (collective)."""
        return (
            self.steady.jacobian[0] if self.cells is None else self.cells.tangent(self.cells.cells)
        )

    def _model(self, *more: terms.Term) -> tuple[terms.Term, ...]:
        model = terms.EQUAL_ORDER if self.space.equal_order else terms.TAYLOR_HOOD
        if boundary.tags(self.mesh, "slip"):
            model = (*model, terms.slip)
        if self.problem.rheology.varies:
            model = (*model, terms.transposed_stress)
        return (*model, *more)

    def _compile(self, model: tuple[terms.Term, ...], fields: terms.Fields) -> Compiled:
        """Compile the residual and its Jacobian with a pseudo-time term (collective)."""
        if self.cells is not None and terms.capturing not in model:
            model = tuple(term for term in model if term in terms.ON_FACETS)
            F = _form(terms.residual(model, fields))
            J = _form(self._derivative(model, fields))
            at_edge = self.cells.tangent(self.cells.edge)
            return Compiled(F, (at_edge, J), self.cells)
        J = self._derivative(model, fields)
        du, _ = self.space.split(ufl.TrialFunction(self.space.W))
        J += self.inverse_cfl * terms.rate(fields) * ufl.inner(du, fields.v) * fields.dx
        return Compiled(_form(terms.residual(model, fields)), (_form(J),), None)

    def _derivative(self, model: tuple[terms.Term, ...], fields: terms.Fields) -> Any:  # noqa: ANN401
        """Picard's derivative of some terms, and what makes it Newton's."""
        F, trial = terms.residual(model, fields), ufl.TrialFunction(self.space.W)
        J = ufl.derivative(F, self.x, trial)
        J += self.newton * ufl.derivative(F, self.advecting, trial)
        return J + self.newton * ufl.derivative(F, self.frozen, trial)


def _form(expression: Any) -> Any:  # noqa: ANN401
    return dolfinx.fem.form(expression, jit_options=JIT_OPTIONS)
