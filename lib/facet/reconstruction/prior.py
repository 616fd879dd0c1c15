"""The face model as a prior: of all faces that people make, the one that a noisy surface most probably shows.

    p = T(S̄ + Σ c_k b_k) + noise,   c_k ~ N(0, λ_k),   noise of every c_k ~ N(0, N σ²):

    c_k = λ_k / (λ_k + N σ²) · ⟨T⁻¹(p) − S̄, b_k⟩      (the posterior's mean; Blanz & Vetter 2003, section 4)

T is a similarity; S̄ is the mean over people and their expressions; b_k are orthonormal directions, with
variances λ_k, in which the N counted vertices of people differ who make faces (identity modes and sampled
expressions, less what T can do). A network that is trained for long needs no prior; one that was trained for
a short time says little about the finer modes, and what it says there is mostly noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from facet.face_model.once import once_for
from facet.geometry import Similarity, similarity_of_moments

# σ, mm: the root mean square displacement of the counted vertices by the noise of one direction b_k alone.
# Chosen on validation people of the second generation, for PRN and TwoView of 80,000 pictures.
NOISE = 0.35
FACES = 4000  # sampled expressions
ROUNDS = 3  # of fitting T and c in turn


@dataclass(frozen=True)
class Prior:
    """How faces differ.

    Attributes:
        mean: (V, 3) mm, the mean over people and expressions, model frame.
        basis: (K, V, 3) directions, orthonormal over the counted vertices.
        variance: (K,) mm², falling, of the coefficients.
        counted: (V,) bool, vertices that are looked at.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor
    counted: Tensor

    def likely(self, vertices: Tensor, noise: float = NOISE) -> tuple[Tensor, Tensor]:
        """The most probable face behind noisy vertices.

        Args:
            vertices: (V, 3) in pixels, image frame; those that do not count may be anything.
            noise: σ, see above; 0 projects onto the modes and favours nothing.

        Returns:
            (V, 3) float64 vertices of the whole patch in the same frame, and (K,) coefficients in standard
            deviations.
        """
        count = int(self.counted.sum())
        middle = vertices[self.counted].double().mean(dim=0)
        centred = torch.where(self.counted[:, None], vertices.double() - middle, 0.0)
        products = centred.T @ self.basis  # (K, 3, 3) Σ (p − p̄) b_kᵀ: all that T and c need of the vertices
        centre = self.mean[self.counted].mean(dim=0)
        outer = centred.T @ (self.mean - centre)
        spread = (self.mean[self.counted] - centre).square().sum()

        def fit(coefficients: Tensor) -> Similarity:
            # the directions are orthonormal, and neither move nor scale the mean face
            covariance = (outer + torch.tensordot(coefficients, products, dims=1)) / count
            variance = (spread + coefficients.square().sum()) / count
            moments = centre, middle, covariance, variance
            return similarity_of_moments(*(moment[None] for moment in moments), reflect=True)

        shrink = self.variance / (self.variance + noise**2 * count)
        coefficients = torch.zeros_like(self.variance)
        for _ in range(ROUNDS):
            found = fit(coefficients)
            coefficients = shrink / found.scale * (found.rotation * products).sum(dim=(1, 2))
        shape = self.mean + torch.tensordot(coefficients, self.basis, dims=1)
        return fit(coefficients).apply(shape[None])[0], coefficients / self.variance.sqrt()


def prior(face) -> Prior:
    """The prior of a face model, made once and forgotten with it."""
    return once_for(face, "prior", lambda: make(face))


@torch.no_grad()
def make(face, *, faces: int = FACES, kept: float = 0.999) -> Prior:
    """Modes of people who make faces, from the face model's own numbers.

    Args:
        face: a face model; its identity modes are in standard deviations.
        faces: how many expressions are sampled.
        kept: share of the variance that the basis holds.
    """
    from facet.synthetic.expressions import draw_expressions

    device = face.device
    generator = torch.Generator().manual_seed(0)
    strengths = draw_expressions(generator, face.expression_names, faces).double().to(device)
    identities = face.identity_modes
    eye = torch.eye(identities + len(face.expression_names), device=device)
    mean = face.mean.double()
    modes = (face.blend(eye[:, :identities], eye[:, identities:]) - face.mean).double()  # (M, V, 3)
    mean = mean + torch.tensordot(strengths.mean(0), modes[identities:], dims=1)
    spread = strengths - strengths.mean(0)
    within = torch.eye(len(modes), dtype=torch.float64, device=device)
    within[identities:, identities:] = spread.T @ spread / faces
    counted = face.weight > 0
    seen = modes[:, counted].flatten(1)
    rigid = _similarity_directions(mean)  # (7, V, 3)
    q, r = torch.linalg.qr(rigid[:, counted].flatten(1).T)
    share = torch.linalg.solve_triangular(r, q.T @ seen.T, upper=True).T  # (M, 7) of the raw directions
    modes = modes - torch.tensordot(share, rigid, dims=1)
    seen = modes[:, counted].flatten(1)
    root = torch.linalg.cholesky(within + 1e-12 * torch.eye(len(within), device=device))
    gram = root.T @ (seen @ seen.T) @ root
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0), vectors.flip(1)
    count = int((values.cumsum(0) < kept * values.sum()).sum()) + 1
    values, vectors = values[:count], vectors[:, :count]
    mix = (root @ vectors / values.sqrt()).T  # (K, M)
    return Prior(mean, torch.tensordot(mix, modes, dims=1), values, counted)


def _similarity_directions(points: Tensor) -> Tensor:
    """(7, V, 3): how points (V, 3) move when they are shifted, turned and scaled a little."""
    axes = torch.eye(3, dtype=points.dtype, device=points.device)
    shifts = axes[:, None].expand(3, *points.shape)
    centred = points - points.mean(0)
    turns = torch.stack([torch.linalg.cross(a.expand_as(centred), centred) for a in axes])
    return torch.cat((shifts, turns, centred[None]))
