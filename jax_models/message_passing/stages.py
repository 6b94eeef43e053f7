"""A network cut between its layers, so that an engine can move messages there: compiled steps forward and back.

Each step works on one block of centres. The messages of all atoms are one array [A, F] beside it, from which a block
gathers what its neighbours sent, and a second such array collects the gradients on their way back. The steps together
are the reverse-mode derivative of `MessagePassing.energies`; a layer is computed again on the way back rather than
kept, so that memory does not grow with the number of edges.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jax_models.derivatives import safe_padding, zero_padding
from jax_models.message_passing.network import MessagePassing, gather_messages
from jax_models.neighborhood import Neighborhood
from jax_models.precision import model_in
from jax_models.uncertainty.grade import Grade


class Centers(NamedTuple):
    """A block of B padded centres and what ties it to all atoms."""

    neighborhood: Neighborhood
    """``neighbors[B, K]`` are rows of the message array."""
    rows: Int[Array, " B"]
    """Each centre's own row of the message array; a padded centre has one beyond its end."""
    weights: Float[Array, " B"]
    """1 where a centre's energy counts, 0 for padding and for atoms that another rank owns."""


class Stages:
    """Jitted steps of a `MessagePassing` network.

    ``start(centers)`` -> energies, own, message;
    ``forward(t, centers, own, messages)`` -> energies, own, message, for the layers between first and last;
    ``last(centers, own, messages, gradients, graded)`` -> energies, dE/dvectors, dE/down, gradients, grade;
    ``backward(t, centers, own, messages, d_own, d_messages, gradients)`` -> dE/dvectors, dE/down, gradients;
    ``finish(centers, d_own, d_messages)`` -> dE/dvectors;
    ``only(centers, graded)`` -> energies, dE/dvectors, grade, of a network with one layer.

    ``gradients`` [A, F] is added to in place, and d_messages is the finished array of the layer above. The grade of
    each centre is None where it is not wanted.
    """

    def __init__(self, model: MessagePassing, grade: Grade | None = None):
        self._model_in = functools.partial(model_in, model)
        self._grade: Any = grade
        self.n_layers = model.n_layers
        self.start = jax.jit(self._start)
        self.only = jax.jit(self._only, static_argnums=1)
        self.forward = jax.jit(self._forward, static_argnums=0)
        self.last = jax.jit(self._last, donate_argnums=3, static_argnums=4)
        self.backward = jax.jit(self._backward, static_argnums=0, donate_argnums=6)
        self.finish = jax.jit(self._finish)

    def compilations(self) -> int:
        steps = (self.start, self.only, self.forward, self.last, self.backward, self.finish)
        # JAX says it only here, and its stubs not at all.
        return sum(step._cache_size() for step in steps)  # type: ignore[attr-defined]

    def message_widths(self) -> list[int]:
        """Numbers that an atom sends before each layer from the second on."""
        one = jnp.zeros((1, 1), jnp.int32)
        nb = Neighborhood(jnp.ones((1, 1, 3), jnp.float32), one[0], one, one > 0, one)

        def widths(nb):
            model = self._model_in(jnp.float32)
            own, _ = model.first_layer(nb)
            messages = []
            for t in range(1, self.n_layers):
                messages.append(model.message(t, own))
                own, _ = model.layer(t, nb, own, gather_messages(messages[-1], nb.neighbors))
            return messages

        return [message.shape[1] for message in jax.eval_shape(widths, nb)]

    def _first(self, nb: Neighborhood):
        model = self._model_in(nb.vectors.dtype)
        own, output = model.first_layer(model.seen(nb))
        message = model.message(1, own) if self.n_layers > 1 else None
        return model.scaled(output) + model.prior_energies(nb), own, message

    def _start(self, centers: Centers):
        return self._first(safe_padding(centers.neighborhood))

    def _only(self, centers: Centers, graded: bool):
        nb = safe_padding(centers.neighborhood)
        first = lambda v: self._first(nb._replace(vectors=v))[:2]  # noqa: E731
        energies, pull_back, own = jax.vjp(first, nb.vectors, has_aux=True)
        (d_vectors,) = pull_back(centers.weights)
        return energies, zero_padding(d_vectors, nb.mask), self._grade_of(own, nb, graded)

    def _forward(self, t: int, centers: Centers, own, messages):
        nb = safe_padding(centers.neighborhood)
        return self._layer_on(t, nb, own, gather_messages(messages, nb.neighbors))

    def _last(self, centers: Centers, own, messages, gradients, graded: bool):
        nb, t = safe_padding(centers.neighborhood), self.n_layers - 1
        step = lambda v, own, received: self._layer_on(t, nb._replace(vectors=v), own, received)  # noqa: E731
        received = gather_messages(messages, nb.neighbors)
        energies, pull_back, last = jax.vjp(step, nb.vectors, own, received, has_aux=True)
        d_vectors, d_own, d_received = pull_back(centers.weights)
        grade = self._grade_of(last, nb, graded)
        return energies, zero_padding(d_vectors, nb.mask), d_own, _add(gradients, nb, d_received), grade

    def _grade_of(self, own, nb: Neighborhood, graded: bool) -> Float[Array, " B"] | None:
        dtype = nb.vectors.dtype
        return model_in(self._grade, dtype)(self._model_in(dtype).features(own), nb.species) if graded else None

    def _backward(self, t: int, centers: Centers, own, messages, d_own, d_messages, gradients):
        nb = safe_padding(centers.neighborhood)
        step = lambda v, own, received: self._layer_on(t, nb._replace(vectors=v), own, received)  # noqa: E731
        _, pull_back = jax.vjp(step, nb.vectors, own, gather_messages(messages, nb.neighbors))
        d_vectors, d_own, d_received = pull_back((centers.weights, d_own, _own_rows(d_messages, centers)))
        return zero_padding(d_vectors, nb.mask), d_own, _add(gradients, nb, d_received)

    def _finish(self, centers: Centers, d_own, d_messages):
        nb = safe_padding(centers.neighborhood)
        _, pull_back = jax.vjp(lambda v: self._first(nb._replace(vectors=v)), nb.vectors)
        (d_vectors,) = pull_back((centers.weights, d_own, _own_rows(d_messages, centers)))
        return zero_padding(d_vectors, nb.mask)

    def _layer_on(self, t: int, nb: Neighborhood, own, received):
        model = self._model_in(nb.vectors.dtype)
        own, output = model.layer(t, model.seen(nb), own, received)
        if t + 1 == self.n_layers:
            return model.scaled(output), own
        return model.scaled(output), own, model.message(t + 1, own)


def _own_rows(array: Float[Array, "A F"], centers: Centers) -> Float[Array, "B F"]:
    return jnp.take(array, centers.rows, axis=0, mode="fill", fill_value=0)


def _add(gradients: Float[Array, "A F"], nb: Neighborhood, received: Float[Array, "B K F"]) -> Float[Array, "A F"]:
    return gradients.at[nb.neighbors].add(zero_padding(received, nb.mask), mode="drop")
