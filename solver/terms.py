r"""Terms of the momentum and mass balance, each one a function from `Fields` to a UFL form.

All terms stand on the left-hand side: ``sum of terms = 0``. Everything is dimensionless (lengths by the
inlet diameter $D$, velocities by $U$, pressures by $\rho U^2$), so that density is one and viscosity is
$1/\mathrm{Re}$. A new term is one function here and its name in the tuple of the flow model that uses it.

The advecting velocity ``w`` and the velocity ``f`` inside the stabilisation parameter are functions of
their own: they equal ``u`` in the residual, and the Jacobian differentiates with respect to ``u`` alone
(Picard) or to all three (Newton).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import ufl

Form = Any  # ufl ships no type information

C_INVERSE = 36.0
"""Inverse-estimate constant of linear elements, with the metric of `metric`."""

ROUNDING = 0.01
"""Velocity, in reference velocities, over which the kink of the backflow term is rounded."""

CAPTURING = 0.5
"""Coefficient of `capturing` that makes any jet converge."""

NITSCHE = 10.0
"""Penalty factor of `slip`."""

EDGE_METRIC = ((1.0, 0.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0))
"""Gram matrix of the edges of the regular tetrahedron: makes `metric` blind to vertex order."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Everything a term may use.

    Attributes:
        u: Velocity.
        p: Pressure.
        v: Velocity test function.
        q: Pressure test function.
        w: Advecting velocity (equals ``u`` in the residual).
        f: Velocity inside the stabilisation parameter (equals ``u`` in the residual).
        acceleration: Time derivative of the velocity; None in the steady state.
        force: Body force; None for none.
        nu: Viscosity over that of a Reynolds number of one; a function of ``u`` where it varies.
        beta: Backflow stabilisation factor.
        degree: Polynomial degree of the velocity.
        dx: Cell measure.
        ds_open: Measure of the faces with natural traction (outlets).
        g: Pressure inside the capturing viscosity (equals ``p`` in the residual); None without that term.
        capture: Coefficient of the capturing viscosity.
        ds_slip: Measure of the walls without friction; None without any.
        varies: Whether the viscosity depends on the shear rate.
    """

    u: Any
    p: Any
    v: Any
    q: Any
    w: Any
    f: Any
    acceleration: Any
    force: Any
    nu: Any
    beta: Any
    degree: int
    dx: Any
    ds_open: Any
    g: Any = None
    capture: Any = CAPTURING
    ds_slip: Any = None
    varies: bool = False


Term = Callable[[Fields], Form]


def convection(f: Fields) -> Form:
    r"""Skew-symmetric convection, $((w\cdot\nabla) u + \tfrac12(\nabla\cdot w) u)\cdot v$."""
    return ufl.inner(ufl.dot(ufl.grad(f.u), f.w) + 0.5 * ufl.div(f.w) * f.u, f.v) * f.dx


def inertia(f: Fields) -> Form:
    r"""Local acceleration, $\dot u\cdot v$."""
    return ufl.inner(f.acceleration, f.v) * f.dx


def viscous_stress(f: Fields) -> Form:
    r"""Viscous term in gradient form, $\nu\nabla u : \nabla v$.

    Its natural traction $-pn + \nu\,\partial_n u$ leaves developed pipe flow exact at an open end, which
    the symmetric gradient does not.
    """
    return f.nu * ufl.inner(ufl.grad(f.u), ufl.grad(f.v)) * f.dx


def transposed_stress(f: Fields) -> Form:
    r"""What a viscosity that varies adds, $\nu(\nabla u)^T : \nabla v$.

    Taken out at open ends, $-\nu\,(\nabla u)^T n\cdot v$, so that the traction there is that of `viscous_stress`.
    """
    n, turned = ufl.FacetNormal(ufl_domain(f)), ufl.transpose(ufl.grad(f.u))
    inside = f.nu * ufl.inner(turned, ufl.grad(f.v)) * f.dx
    return inside - f.nu * ufl.inner(ufl.dot(turned, n), f.v) * f.ds_open


def shear_rate(u: Any, least: float = 1e-4) -> Any:  # noqa: ANN401
    r"""$\dot\gamma = \sqrt{2\,\varepsilon(u):\varepsilon(u)}$, rounded at zero so that it has a derivative there."""
    strain = ufl.sym(ufl.grad(u))
    return ufl.sqrt(2.0 * ufl.inner(strain, strain) + least**2)


def pressure_coupling(f: Fields) -> Form:
    r"""Pressure and incompressibility, $-p\nabla\cdot v + q\nabla\cdot u$."""
    return (f.q * ufl.div(f.u) - f.p * ufl.div(f.v)) * f.dx


def backflow(f: Fields) -> Form:
    r"""Backflow stabilisation on open faces, $-\beta (w\cdot n)_- u\cdot v$.

    Reference:
        Esmaily Moghadam et al. (2011), Comput. Mech. 48, 277-291,
        https://doi.org/10.1007/s00466-011-0599-0, eq. 12.
    """
    outward = ufl.dot(f.w, ufl.FacetNormal(ufl_domain(f)))
    inward = 0.5 * (outward - ufl.sqrt(outward**2 + ROUNDING**2))  # smooth, for Newton's sake
    return -f.beta * inward * ufl.inner(f.u, f.v) * f.ds_open


def slip(f: Fields) -> Form:
    r"""No flow through a wall, and no friction on it, by Nitsche's method.

    $-(\nu\,n\cdot\partial_n u - p)\,v\cdot n - (\nu\,n\cdot\partial_n v + q)\,u\cdot n
    + \gamma(\nu p^2/h + |w|)\,(u\cdot n)(v\cdot n)$ with the degree $p$. Tested with $q = 1$ it makes the mass balance
    count the open patches alone.

    Reference:
        Urquiza, Garon & Farinas (2014), J. Comput. Phys. 256, 748-767, https://doi.org/10.1016/j.jcp.2013.08.045.
    """
    n = ufl.FacetNormal(ufl_domain(f))
    pull = f.nu * ufl.dot(n, ufl.dot(ufl.grad(f.u), n)) - f.p
    push = f.nu * ufl.dot(n, ufl.dot(ufl.grad(f.v), n)) + f.q
    stiffness = 0.5 * f.degree * ufl.sqrt(ufl.dot(n, ufl.dot(metric(f), n)))
    speed = ufl.sqrt(ufl.dot(f.f, f.f) + 1e-12)
    through, test = ufl.dot(f.u, n), ufl.dot(f.v, n)
    penalty = NITSCHE * (f.nu * stiffness + speed) * through * test
    return (penalty - pull * test - push * through) * f.ds_slip


def ufl_domain(f: Fields) -> Any:  # noqa: ANN401 - ufl ships no type information
    """The mesh of the fields."""
    return ufl.domain.extract_unique_domain(f.u)


def metric(f: Fields) -> Any:  # noqa: ANN401
    r"""Element metric $G = 4 p^2 J^{-T} E J^{-1}$: $4p^2/h^2$ on a regular tetrahedron of edge $h$."""
    K = ufl.inv(ufl.Jacobian(ufl_domain(f)))
    E = ufl.as_matrix(EDGE_METRIC)
    return (4.0 * f.degree**2) * ufl.dot(ufl.transpose(K), ufl.dot(E, K))


def rate(f: Fields) -> Any:  # noqa: ANN401
    r"""Advection rate of an element, $\sqrt{f\cdot G f}$."""
    return ufl.sqrt(ufl.dot(f.f, ufl.dot(metric(f), f.f)) + 1e-12)


def tau(f: Fields) -> Any:  # noqa: ANN401
    r"""Stabilisation parameter $\tau = (f\cdot G f + C\nu^2 G:G)^{-1/2}$; never a time step in it.

    Reference:
        Bazilevs et al. (2007), CMAME 197, 173-201, https://doi.org/10.1016/j.cma.2007.07.016, eq. 63,
        without its time-step term: Jia & Esmaily (2023), https://doi.org/10.1038/s41598-023-46316-4.
    """
    G = metric(f)
    advective = ufl.dot(f.f, ufl.dot(G, f.f))
    return 1.0 / ufl.sqrt(advective + (C_INVERSE / 4.0) * f.nu**2 * ufl.inner(G, G))


def strong_momentum(f: Fields) -> Any:  # noqa: ANN401
    r"""Strong residual of the momentum balance, $\dot u + (w\cdot\nabla)u + \nabla p - \nu\Delta u - b$."""
    advection = ufl.dot(ufl.grad(f.u), f.w) + ufl.grad(f.p)
    if f.acceleration is not None:
        advection += f.acceleration
    if f.force is not None:
        advection -= f.force
    if f.degree == 1:
        return advection
    slope = ufl.grad(f.u)
    if f.varies:
        return advection - ufl.div(f.nu * (slope + ufl.transpose(slope)))
    return advection - f.nu * ufl.div(slope)


def body_force(f: Fields) -> Form:
    """Body force, on the left-hand side."""
    return -ufl.inner(f.force, f.v) * f.dx


def pspg(f: Fields) -> Form:
    r"""Pressure stabilisation, $\tau\, r \cdot \nabla q$: lets velocity and pressure share one degree."""
    return tau(f) * ufl.inner(strong_momentum(f), ufl.grad(f.q)) * f.dx


def supg(f: Fields) -> Form:
    r"""Streamline-upwind stabilisation, $\tau\, r \cdot (w\cdot\nabla) v$.

    Reference:
        Tezduyar et al. (1992), CMAME 95, 221-242, https://doi.org/10.1016/0045-7825(92)90141-6.
    """
    return tau(f) * ufl.inner(strong_momentum(f), ufl.dot(ufl.grad(f.v), f.f)) * f.dx


def lsic(f: Fields) -> Form:
    r"""Least squares on incompressibility, $(\nabla\cdot u)(\nabla\cdot v)/(\tau\,\mathrm{tr}\,G)$."""
    return ufl.div(f.u) * ufl.div(f.v) / (tau(f) * ufl.tr(metric(f))) * f.dx


def capturing(f: Fields) -> Form:
    r"""Viscosity where the mesh does not resolve the flow, $\nu_c \nabla u : \nabla v$.

    $\nu_c = C\,ab/\sqrt{a^2+b^2}$ with $a = h_p |r| / |\nabla u|$ and $b = h_p |u| / 2$; $r$ is the strong residual,
    $h_p$ the element size over the degree. It vanishes with the residual (developed pipe flow is not changed) and is
    never more than the upwind viscosity. A last rung for jets that have no steady state on the mesh given.

    Reference:
        Codina (1993), CMAME 110, 325-342, https://doi.org/10.1016/0045-7825(93)90213-H, section 4 (isotropic
        discontinuity capturing driven by the residual).
    """
    slope = ufl.grad(f.f)
    r = ufl.dot(slope, f.f) + ufl.grad(f.g)
    if f.degree > 1:
        r -= f.nu * ufl.div(slope)
    h = 2.0 / ufl.sqrt(ufl.tr(metric(f)) / 3.0)
    a = h * ufl.sqrt(ufl.dot(r, r) + 1e-10) / ufl.sqrt(ufl.inner(slope, slope) + 1e-2)
    b = 0.5 * h * ufl.sqrt(ufl.dot(f.f, f.f) + 1e-8)
    extra = f.capture * a * b / ufl.sqrt(a * a + b * b)
    return extra * ufl.inner(ufl.grad(f.u), ufl.grad(f.v)) * f.dx


GALERKIN: tuple[Term, ...] = (convection, viscous_stress, pressure_coupling, backflow)
TAYLOR_HOOD: tuple[Term, ...] = (*GALERKIN, supg, lsic)
EQUAL_ORDER: tuple[Term, ...] = (*TAYLOR_HOOD, pspg)
ON_FACETS: tuple[Term, ...] = (backflow, slip)
"""Terms without a part in the cells."""


def residual(terms: Iterable[Term], f: Fields) -> Form:
    """Sum the terms into one UFL form."""
    return sum(term(f) for term in terms)
