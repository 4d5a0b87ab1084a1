"""A stiffness operator inside conjugate gradients: how much of it to assemble.

    python -m experiments.demonstrations.finite_elements [--picture finite_elements.png]

A quadrilateral mesh with elements of order p, and the Laplacian on it. The mesh is known, the
vector it is applied to is not, and it is applied once per iteration. People choose between the
whole matrix, a matrix per element, factors at quadrature points, and nothing at all: from the
corners anew in every call. Three functions that compute the same are offered: through the whole
matrix, through element matrices, and through sums over one axis after another. For each budget
`ckpt.partial_eval` splits all three with seconds measured let by let, and the split that is
predicted to be quickest is picked; the others are timed beside it, and SciPy's sparse matrix.

Source: the levels of assembly: Kolev et al. Efficient exascale discretizations: High-order finite
element methods. 2021.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import ckpt
import ckpt.numpy as cnp
from experiments.demonstrations.demonstration import (
    Config,
    DemonstrationError,
    command,
    in_turns,
    show,
)
from policies.units import format_bytes, format_seconds


class FiniteElements(Config):
    """Sizes.

    Attributes:
        orders: of the elements.
        unknowns: about how many per order: higher orders have fewer elements.
        iterations: of conjugate gradients, per mesh.
        tolerance: relative, between the forms.
    """

    orders: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    unknowns: int = 20_000
    iterations: float = 500
    tolerance: float = 1e-10


@dataclass(frozen=True)
class Mesh:
    """A mesh of one order.

    Attributes:
        corners: f64[e,2,2,2], of each element, by two directions, in the plane.
        places: i64[e,n,n], the unknowns of each element.
        n_unknowns: of the mesh.
        values, slopes: f64[q,n], of the basis in one direction at quadrature points.
        weights: f64[q].
        points: f64[q], from 0 to 1.
    """

    corners: Any
    places: Any
    n_unknowns: int
    values: Any
    slopes: Any
    weights: Any
    points: Any


def mesh_of(order: int, unknowns: int, seed: int) -> Mesh:
    """A square of perturbed quadrilaterals."""
    side = max(2, round(np.sqrt(unknowns) / order))
    random = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.arange(side + 1.0)] * 2, indexing="ij"), -1) / side
    at[1:-1, 1:-1] += random.uniform(-0.2, 0.2, (side - 1, side - 1, 2)) / side
    i, j = (x.ravel() for x in np.mgrid[:side, :side])
    corners = np.stack([np.stack([at[i + a, j + b] for b in (0, 1)], 1) for a in (0, 1)], 1)
    line = np.arange(order + 1)
    width = side * order + 1
    rows, columns = (k[:, None] * order + line for k in (i, j))
    places = rows[:, :, None] * width + columns[:, None, :]
    points, weights = np.polynomial.legendre.leggauss(order + 1)
    points, weights = (points + 1) / 2, weights / 2
    nodes = (1 - np.cos(np.pi * line / order)) / 2
    values = np.ones((len(points), order + 1))
    slopes = np.zeros_like(values)
    for k in range(order + 1):
        others = [m for m in range(order + 1) if m != k]
        basis = np.poly1d([1.0])
        for m in others:
            basis *= np.poly1d([1.0, -nodes[m]]) / (nodes[k] - nodes[m])
        values[:, k], slopes[:, k] = basis(points), basis.deriv()(points)
    return Mesh(corners, places, width * width, values, slopes, weights, points)


def factors(mesh: Mesh, corners: Any) -> tuple[Any, Any, Any]:
    """What the operator multiplies slopes with at quadrature points: f64[e,q,q], three of them."""
    t = mesh.points
    x, y = corners[..., 0], corners[..., 1]

    def along(z: Any) -> tuple[Any, Any]:
        first = (z[:, 1, 0] - z[:, 0, 0])[:, None] * (1 - t)
        first = first + (z[:, 1, 1] - z[:, 0, 1])[:, None] * t
        second = (z[:, 0, 1] - z[:, 0, 0])[:, None] * (1 - t)
        second = second + (z[:, 1, 1] - z[:, 1, 0])[:, None] * t
        return first[:, None, :], second[:, :, None]

    (x1, x2), (y1, y2) = along(x), along(y)
    scale = mesh.weights[:, None] * mesh.weights[None, :] / (x1 * y2 - x2 * y1)
    return (
        (x2 * x2 + y2 * y2) * scale,
        -(x1 * x2 + y1 * y2) * scale,
        (x1 * x1 + y1 * y1) * scale,
    )


def by_axes(mesh: Mesh) -> Callable[..., Any]:
    """`f(corners, u)`: sums over one axis after another."""
    b, d = mesh.values, mesh.slopes

    def apply(corners: Any, u: Any) -> Any:
        aa, ab, bb = factors(mesh, corners)
        mine = u[mesh.places]
        first = np.einsum("pi,qj,eij->epq", d, b, mine)
        second = np.einsum("pi,qj,eij->epq", b, d, mine)
        out = np.einsum("pi,qj,epq->eij", d, b, aa * first + ab * second)
        out = out + np.einsum("pi,qj,epq->eij", b, d, ab * first + bb * second)
        return cnp.scatter_add(np.zeros(mesh.n_unknowns), mesh.places, out)

    return apply


def matrices_of(mesh: Mesh) -> Callable[..., Any]:
    """`f(corners)`: the matrix of each element, f64[e,n*n,n*n]."""
    b, d = mesh.values, mesh.slopes
    q, n = b.shape
    first = np.einsum("pi,qj->pqij", d, b).reshape(q * q, n * n)
    second = np.einsum("pi,qj->pqij", b, d).reshape(q * q, n * n)
    # products of slopes: what the matrix of an element is a combination of
    pairs = [np.einsum("qi,qj->qij", x, y).reshape(q * q, -1) for x, y in (
        (first, first), (first, second), (second, first), (second, second))]  # fmt: skip
    both = pairs[1] + pairs[2]

    def matrices(corners: Any) -> Any:
        aa, ab, bb = (x.reshape(-1, q * q) for x in factors(mesh, corners))
        return (aa @ pairs[0] + ab @ both + bb @ pairs[3]).reshape(-1, n * n, n * n)

    return matrices


def by_elements(mesh: Mesh) -> Callable[..., Any]:
    """`f(corners, u)`: through a matrix per element."""
    of_elements, n = matrices_of(mesh), mesh.places.shape[1]

    def apply(corners: Any, u: Any) -> Any:
        mine = u[mesh.places].reshape(-1, 1, n * n)
        out = np.sum(of_elements(corners) * mine, axis=-1)
        return cnp.scatter_add(np.zeros(mesh.n_unknowns), mesh.places, out.reshape(-1, n, n))

    return apply


def assembled(mesh: Mesh) -> Callable[..., Any]:
    """`f(corners, u)`: through the rows of the matrix, each as long as the fullest."""
    n_unknowns, e = mesh.n_unknowns, mesh.places.shape[0]
    places = mesh.places.reshape(e, -1)
    where = places[:, :, None] * n_unknowns + places[:, None, :]
    entries, entry = np.unique(where, return_inverse=True)
    rows, columns = entries // n_unknowns, entries % n_unknowns
    rank = np.arange(len(entries)) - np.searchsorted(rows, rows)
    width = int(rank.max()) + 1
    reads = np.zeros((n_unknowns, width), np.int64)
    reads[rows, rank] = columns
    slots = (rows * width + rank)[entry.ravel()].reshape(e, -1)
    of_elements = matrices_of(mesh)

    def apply(corners: Any, u: Any) -> Any:
        matrices = of_elements(corners).reshape(e, -1)
        values = cnp.scatter_add(np.zeros(n_unknowns * width), slots, matrices)
        return np.sum(values.reshape(n_unknowns, width) * u[reads], axis=-1)

    return apply


FORMS = {"by axes": by_axes, "by elements": by_elements, "assembled": assembled}


def sparse_matrix(mesh: Mesh) -> Any:
    """The assembled matrix."""
    aa, ab, bb = factors(mesh, mesh.corners)
    first = np.einsum("pi,qj->pqij", mesh.slopes, mesh.values)
    second = np.einsum("pi,qj->pqij", mesh.values, mesh.slopes)
    matrices = np.einsum("epq,pqij,pqkl->eijkl", aa, first, first, optimize=True)
    mixed = np.einsum("epq,pqij,pqkl->eijkl", ab, first, second, optimize=True)
    matrices += mixed + mixed.transpose(0, 3, 4, 1, 2)
    matrices += np.einsum("epq,pqij,pqkl->eijkl", bb, second, second, optimize=True)
    n = mesh.places.shape[1] ** 2
    places = mesh.places.reshape(-1, n)
    rows, columns = np.repeat(places, n, axis=1), np.tile(places, (1, n))
    shape = (mesh.n_unknowns,) * 2
    return sparse.csr_matrix((matrices.ravel(), (rows.ravel(), columns.ravel())), shape)


@dataclass(frozen=True, slots=True)
class Pick:
    """One order and one budget.

    Attributes:
        order: of the elements.
        budget_bytes: for what is kept between iterations; None for any.
        picked: the form, and what it keeps.
        kept_bytes: of it.
        predicted_seconds: of one application of it.
        seconds: of one application, of every split that is within the budget.
        sparse_seconds: of SciPy's sparse matrix.
    """

    order: int
    budget_bytes: int | None
    picked: str
    kept_bytes: int
    predicted_seconds: float
    seconds: dict[str, float]
    sparse_seconds: float

    @property
    def above_best(self) -> float:
        """Seconds of the pick above the best, as a part of them."""
        return self.seconds[self.picked] / min(self.seconds.values()) - 1


def picks(config: FiniteElements, order: int) -> list[Pick]:
    """What is picked at one order, for three budgets, and what all forms take.

    Raises:
        DemonstrationError: the forms give different values.
    """
    mesh = mesh_of(order, config.unknowns, config.seed)
    u = np.random.default_rng(config.seed).normal(size=mesh.n_unknowns)
    like = (mesh.corners, u)
    matrix = sparse_matrix(mesh)
    wanted = matrix @ u
    splits: dict[str, ckpt.Staged] = {}
    n_quadrature = mesh.places.shape[0] * len(mesh.weights) ** 2
    budgets = (None, 3 * 8 * n_quadrature, 0)
    for budget in budgets:
        for form, make in FORMS.items():
            staged = ckpt.partial_eval(
                make(mesh), "corners", like=like, at_hand="corners", calls=config.iterations,
                budget=budget, measure=True,
            )  # fmt: skip
            kept = format_bytes(staged.residual_bytes)
            splits.setdefault(f"{form}, {kept}", staged)
    late = {name: staged.bind(mesh.corners) for name, staged in splits.items()}
    for name, f in late.items():
        apart = float(np.abs(f(u) - wanted).max() / np.abs(wanted).max())
        if apart > config.tolerance:
            raise DemonstrationError(f"order {order}, {name}: {apart:.2e} from the sparse matrix")
    sides: dict[str, Callable[[], Any]] = {name: (lambda f=f: f(u)) for name, f in late.items()}
    took = in_turns(sides | {"sparse matrix": lambda: matrix @ u}, config.repeat)
    sizes = {name: staged.residual_bytes for name, staged in splits.items()}
    found: list[Pick] = []
    for budget in budgets:
        fits = [n for n in splits if budget is None or sizes[n] <= budget]
        predicted = {n: splits[n].report.seconds_per_call for n in fits}
        best = min(fits, key=lambda n: predicted[n])
        seconds = {n: took[n] for n in fits}
        sparse_seconds = took["sparse matrix"]
        found.append(
            Pick(order, budget, best, sizes[best], predicted[best], seconds, sparse_seconds)
        )
    return found


def draw(found: list[Pick], path: Path) -> None:
    """What a pick takes, against the quickest and the slowest form."""
    from ckpt.inspect.figure import COLOURS, new_figure, save

    figure, axes = new_figure(7.5, 4.0)
    free = [p for p in found if p.budget_bytes is None]
    orders = [p.order for p in free]
    for form, colour in zip(FORMS, COLOURS, strict=False):
        seconds = [min(s for n, s in p.seconds.items() if n.startswith(form)) for p in free]
        axes.plot(orders, [1e3 * s for s in seconds], "o-", color=colour, label=form)
    sparse_ones = [1e3 * p.sparse_seconds for p in free]
    axes.plot(orders, sparse_ones, ":", color=COLOURS[7], label="SciPy's sparse matrix")
    picked = [1e3 * p.seconds[p.picked] for p in free]
    axes.plot(orders, picked, "o", color="black", fillstyle="none", markersize=11, label="picked")
    axes.set_xlabel("order of the elements")
    axes.set_ylabel("milliseconds per application")
    axes.set_yscale("log")
    axes.legend(frameon=False)
    save(figure, path)


def report(config: FiniteElements) -> Callable[[Path], None]:
    """Print the table."""
    found = [pick for order in config.orders for pick in picks(config, order)]
    rows = [
        [
            str(p.order),
            "any" if p.budget_bytes is None else format_bytes(p.budget_bytes),
            p.picked,
            format_seconds(p.predicted_seconds),
            format_seconds(p.seconds[p.picked]),
            "; ".join(f"{n} {format_seconds(s)}" for n, s in p.seconds.items() if n != p.picked),
            f"{100 * p.above_best:.0f} %",
            format_seconds(p.sparse_seconds),
        ]
        for p in found
    ]
    columns = ["order", "budget", "picked", "predicted", "takes", "others", "above best", "SciPy"]
    show("one application of the operator", columns, rows)
    return lambda path: draw(found, path)


if __name__ == "__main__":
    command("finite_elements", __doc__ or "", FiniteElements, report)
