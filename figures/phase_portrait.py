# Copyright 2026 The differentiable_games Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     https://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""A page of phase portraits to play with, `docs/phase_portrait.html`.

    ./run.sh figures phase_portrait [--size=small|quick]

A page for a browser, without a server: one chooses a game of two numbers, a
method and its coefficients, and sees the field, the flow, the modified flow,
the steps, and the eigenvalues that decide what converges. What the page
computes is traced from the library and written as JavaScript, function by
function; by hand are only the drawing, the loop that follows a flow and the
roots of a polynomial. Writes the page, and one portrait of it as a picture,
`figures/phase_portrait.png`.
"""

import argparse
from collections.abc import Callable, Sequence
import json
import pathlib
import string
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure
import optax

from differentiable_games import adjustments
from differentiable_games import fields
from differentiable_games import flows
from differentiable_games import game
from differentiable_games import rules
from differentiable_games import tableaus
from differentiable_games import toy_games
from figures import _javascript
from figures import _output
from figures import _portrait

COSTS = {'small': 'a minute', 'quick': '30 seconds'}

TEMPLATE = pathlib.Path(__file__).with_suffix('.html')
SCRIPT = pathlib.Path(__file__).with_suffix('.js')
OUTPUT = TEMPLATE.parents[1] / 'docs' / TEMPLATE.name
Number = Any  # A float, or what JAX traces.
Losses = Sequence[game.Loss]


class Slider(NamedTuple):
  """A coefficient that one chooses.

  Attributes:
    label: what it is.
    low: its least value.
    high: its greatest.
    value: its first.
  """

  label: str
  low: float
  high: float
  value: float


class Toy(NamedTuple):
  """A game of two numbers with a fixed point at (0, 0).

  Attributes:
    title: its name.
    formula: its losses, for a reader.
    make: maps its coefficients to its losses.
    sliders: one a coefficient.
    names: of the two numbers.
    extent: the plane is shown from minus this to this.
    start: where steps and flows begin.
    rate: the learning rate to begin with.
    max_rate: the greatest that one may choose.
  """

  title: str
  formula: str
  make: Callable[..., Losses]
  sliders: Sequence[Slider] = ()
  names: tuple[str, str] = ('x', 'y')
  extent: float = 2.0
  start: tuple[float, float] = (1.2, 0.0)
  rate: float = 0.2
  max_rate: float = 1.0


class Way(NamedTuple):
  """How a game is played.

  Attributes:
    rule: the update rule.
    field: what it follows.
    modified: the field whose flow its steps follow to third order, in steps'
      time; None where it is not one of the parameters alone, or the flow's.
  """

  rule: rules.UpdateRule
  field: fields.VectorField
  modified: fields.VectorField | None = None


class Method(NamedTuple):
  """A way to play any game.

  Attributes:
    title: its name.
    formula: its step, for a reader.
    make: maps losses, both learning rates and its coefficients to a Way.
    sliders: one a coefficient.
    note: what stands in the modified flow's place.
  """

  title: str
  formula: str
  make: Callable[..., Way]
  sliders: Sequence[Slider] = ()
  note: str = ''


def _dirac(losses: Losses) -> Callable[[Number], Losses]:
  """A Dirac GAN with the gradient penalty R1, which is φ² there."""

  def make(penalty):
    disc_loss = lambda params: losses[0](params) + penalty / 2 * params[0] ** 2
    return disc_loss, losses[1]

  return make


def _toy_dirac(title: str, formula: str, losses: Losses, **kwargs: Any) -> Toy:
  return Toy(
    f'Dirac GAN: {title}',
    f'data at 0, samples at θ, D(x) = φx: {formula}; plus γφ²/2 in L₁',
    _dirac(losses),
    (Slider('penalty R1, γ', 0.0, 1.0, 0.0),),
    names=('φ', 'θ'),
    **kwargs,
  )


_ATTRACTIONS = (
  Slider('attraction of x, a', -2.0, 2.0, 0.1),
  Slider('attraction of y, b', -2.0, 2.0, 0.1),
  Slider('rotation, r', 0.0, 2.0, 1.0),
)
TOYS = {
  'dirac_gan': _toy_dirac(
    *('original', 'L₁ = softplus(φθ) + log 2 = -L₂'),
    toy_games.dirac_gan(),
    rate=0.4,
  ),
  'dirac_gan_non_saturating': _toy_dirac(
    *('non-saturating', 'L₁ = softplus(φθ) + log 2, L₂ = softplus(-φθ)'),
    toy_games.dirac_gan(saturating=False),
    rate=0.4,
  ),
  'dirac_wgan': _toy_dirac(
    'Wasserstein', 'L₁ = φθ = -L₂', toy_games.dirac_wgan()
  ),
  'dirac_pearson': _toy_dirac(
    *('Pearson χ²', 'L₁ = (φθ)²/4 + φθ = -L₂'),
    toy_games.dirac_f_gan('pearson'),
  ),
  'bilinear': Toy(
    'Bilinear',
    'L₁ = xy = -L₂',
    lambda: game.zero_sum(lambda params: params[0] * params[1]),
  ),
  'quadratic': Toy(
    'Quadratic',
    'L₁ = ax²/2 - rxy, L₂ = by²/2 + rxy',
    lambda a, b, rotation: toy_games.spiral((a, b), rotation),
    _ATTRACTIONS,
  ),
  'almost_bilinear': Toy(
    'Almost bilinear: a cycle attracts',
    'L₁ = xy + ε(y²/2 - y⁴/4) = -L₂',
    toy_games.almost_bilinear,
    (Slider('strength, ε', 0.0, 1.0, 0.3),),
    start=(0.3, 0.0),
    max_rate=0.5,
  ),
  'nonconvex': Toy(
    'Ridge',
    'L₁ = (4x² - (y - 3x + x³/20)² - y⁴/10) exp(-(x² + y²)/100) = -L₂',
    lambda: toy_games.ridge_games()['nonconvex'],
    extent=10.0,
    start=(5.0, 7.0),
    rate=0.05,
    max_rate=0.2,
  ),
}


def _descend(order: Sequence[int] | None) -> Callable[..., Way]:
  """Gradient descent with its drift times two coefficients added."""

  def make(losses, rates, own, interaction):
    drift = adjustments.common_time_drift(rates, order=order)

    def weigh(on_diagonal, off_diagonal):
      weights = adjustments.constant_matrix(2, off_diagonal, on_diagonal)
      return [
        [w * c for w, c in zip(*both, strict=True)]
        for both in zip(weights, drift, strict=True)
      ]

    optimizers = [optax.sgd(rate) for rate in rates]
    rule = (
      rules.simultaneous(optimizers)
      if order is None
      else rules.alternating(optimizers, order)
    )
    left = flows.modified_field(losses, weigh(1 + own, 1 + interaction))
    return Way(
      rule,
      flows.modified_field(losses, weigh(own, interaction)),
      flows.scaled_field(left, rates),
    )

  return make


def _adjust(adjustment: Callable[..., Any]) -> Callable[..., Way]:
  """Simultaneous steps along an adjusted gradient."""

  def make(losses, rates, coefficient):
    field = lambda params: adjustment(losses, params, coefficient)
    return Way(
      rules.simultaneous([optax.sgd(rate) for rate in rates]),
      field,
      flows.modified_flow_of_steps(flows.scaled_field(field, rates)),
    )

  return make


def _gradient_of(losses: Losses) -> fields.VectorField:
  return lambda params: game.simultaneous_gradient(losses, params)


def _extragradient(losses: Losses, rates: Sequence[Number]) -> Way:
  """Its drift is descent's with the sign turned."""
  turned = [[-c for c in row] for row in adjustments.common_time_drift(rates)]
  return Way(
    rules.extragradient([optax.sgd(rate) for rate in rates]),
    _gradient_of(losses),
    flows.scaled_field(flows.modified_field(losses, turned), rates),
  )


def _extrapolate(losses: Losses, rates: Sequence[Number]) -> Way:
  rule = rules.extrapolation_from_the_past([optax.sgd(rate) for rate in rates])
  return Way(rule, _gradient_of(losses))


def _runge_kutta(losses: Losses, rates: Sequence[Number]) -> Way:
  """A step of unit time along the flow, which has the rates in it."""
  rule = rules.runge_kutta([optax.sgd(1.0)] * 2, tableaus.RUNGE_KUTTA[4], 1.0)
  return Way(rule, flows.flow_of_descent(losses, rates))


def _momentum(losses: Losses, rates: Sequence[Number], momentum: Number) -> Way:
  optimizers = [optax.sgd(rate, momentum) for rate in rates]
  return Way(rules.alternating(optimizers, (0, 1)), _gradient_of(losses))


def _lola(losses, params, rate):
  return adjustments.lola(losses, params, (rate, rate))


_MULTIPLIERS = (
  Slider('self drift times (-1 cancels it)', -2.0, 2.0, 0.0),
  Slider('interaction drift times (-1 cancels it)', -2.0, 2.0, 0.0),
)
_WITH_MEMORY = 'Its steps carry a memory: no flow of the plane is theirs.'
METHODS = {
  'simultaneous': Method(
    'Simultaneous descent',
    'θᵢ ← θᵢ - hᵢ (ξᵢ + Σⱼ cᵢⱼ Jᵢⱼ ξⱼ), c the drift times two factors',
    _descend(None),
    _MULTIPLIERS,
  ),
  'alternating': Method(
    'Alternating descent',
    'as simultaneous descent, but the second player sees the first one move',
    _descend((0, 1)),
    _MULTIPLIERS,
  ),
  'extragradient': Method(
    'Extragradient', 'θ ← θ - h ξ(θ - h ξ(θ))', _extragradient
  ),
  'extrapolation_from_the_past': Method(
    'Extrapolation from the past (optimism)',
    'θ ← θ - h ξ(θ + last update)',
    _extrapolate,
    note=_WITH_MEMORY,
  ),
  'runge_kutta': Method(
    'Runge-Kutta 4',
    'four gradients a step',
    _runge_kutta,
    note='Its steps follow the flow itself, to the fifth order.',
  ),
  'sga': Method(
    'Symplectic gradient adjustment',
    'θ ← θ - h (ξ + λ Aᵀξ), A = (J - Jᵀ)/2',
    _adjust(adjustments.symplectic_gradient),
    (Slider('λ', -1.0, 2.0, 0.5),),
  ),
  'consensus': Method(
    'Consensus optimisation',
    'θ ← θ - h (ξ + γ Jᵀξ)',
    _adjust(adjustments.consensus),
    (Slider('γ', -1.0, 2.0, 0.5),),
  ),
  'lola': Method(
    'LOLA',
    'θᵢ ← θᵢ - hᵢ (ξᵢ - η Jⱼᵢᵀ ∇ⱼLᵢ)',
    _adjust(_lola),
    (Slider("the opponent's rate, η", 0.0, 2.0, 0.5),),
  ),
  'momentum': Method(
    'Alternating descent with momentum',
    'θ ← θ - h ξ + β (last update), players in turns',
    _momentum,
    (Slider('momentum, β', -0.9, 0.9, -0.5),),
    note=_WITH_MEMORY,
  ),
}


# What the page computes, as functions of numbers: a state z (the two numbers,
# then what a rule remembers), learning rates, coefficients of method and game.


def trace_flow(toy: Toy) -> Callable[..., Any]:
  """The descended field of the flow in steps' time, of (z, h₁, h₂, g…)."""

  def flow(x, y, rate, other_rate, *own):
    field = flows.flow_of_descent(toy.make(*own), (rate, other_rate))
    return field((x, y))

  return flow


def _ways(toy: Toy, method: Method) -> Callable[..., Way]:
  """The Way of (h₁, h₂, m…, g…)."""
  count = len(method.sliders)

  def make(rate, other_rate, *coefficients):
    losses = toy.make(*coefficients[count:])
    return method.make(losses, (rate, other_rate), *coefficients[:count])

  return make


def trace_step(toy: Toy, method: Method) -> tuple[Callable[..., Any], int]:
  """A step of (z, h₁, h₂, m…, g…) to the next z, and how long z is.

  What a rule remembers is zero at first.
  """
  ways = _ways(toy, method)
  rates = (0.0, 0.0)
  coefficients = [s.value for s in (*method.sliders, *toy.sliders)]
  rule = ways(*rates, *coefficients).rule
  number = jax.ShapeDtypeStruct((), jnp.float64)
  state = jax.eval_shape(rule.init, (number, number))
  structure = jax.tree.structure(((number, number), state))
  size = structure.num_leaves

  def step(*numbers):
    params, state = jax.tree.unflatten(structure, numbers[:size])
    way = ways(*numbers[size:])
    return jax.tree.leaves(rules.move(way.rule, way.field, params, state))

  return step, size


def trace_modified_flow(toy: Toy, method: Method) -> Callable[..., Any] | None:
  """The modified flow's descended field, likewise; None if there is none."""
  ways = _ways(toy, method)
  coefficients = [s.value for s in (*method.sliders, *toy.sliders)]
  if ways(1.0, 1.0, *coefficients).modified is None:
    return None
  return lambda x, y, *numbers: ways(*numbers).modified((x, y))


def differentiate(function: Callable[..., Any], size: int):
  """The derivative of a function along a change of its first numbers.

  Args:
    function: of the numbers.
    size: how many of them change.

  Returns:
    A function of the change, then of all numbers.
  """

  def derivative(*numbers):
    change, point, rest = (
      numbers[:size],
      numbers[size : 2 * size],
      numbers[2 * size :],
    )
    return jax.jvp(lambda *z: function(*z, *rest), point, change)[1]

  return derivative


class Traced(NamedTuple):
  """A function that the page has.

  Attributes:
    function: of a state's numbers and of coefficients.
    size: how many numbers the state has.
    num_coefficients: how many coefficients.
  """

  function: Callable[..., Any]
  size: int
  num_coefficients: int


def trace_all(toy: Toy, methods: dict[str, Method]) -> dict[str, Traced]:
  """A game's functions by name; the page has their derivatives, too."""
  found = {'flow': Traced(trace_flow(toy), 2, 2 + len(toy.sliders))}
  for name, method in methods.items():
    count = 2 + len(method.sliders) + len(toy.sliders)
    step, size = trace_step(toy, method)
    found[f'{name}_step'] = Traced(step, size, count)
    modified = trace_modified_flow(toy, method)
    if modified is not None:
      found[f'{name}_modified'] = Traced(modified, 2, count)
  return found


def write_functions(toys: dict[str, Toy], methods: dict[str, Method]) -> str:
  """JavaScript that returns all functions, by game and name."""
  games = []
  for toy_name, toy in toys.items():
    lines = []
    for name, (function, size, count) in trace_all(toy, methods).items():
      written = _javascript.write_function(function, size + count)
      derivative = _javascript.write_function(
        differentiate(function, size), 2 * size + count
      )
      lines.append(f'{name}: {written}')
      lines.append(f'{name}_derivative: {derivative}')
    games.append(f'{toy_name}: {{\n' + ',\n'.join(lines) + '\n}')
  return f'{_javascript.PRELUDE}\nreturn {{\n' + ',\n'.join(games) + '\n};'


def describe(
  toys: dict[str, Toy], methods: dict[str, Method]
) -> dict[str, dict[str, Any]]:
  """What the page shows of games and methods, for JSON."""

  def as_dict(entry):
    shown = {k: v for k, v in entry._asdict().items() if k != 'make'}
    return shown | {'sliders': [s._asdict() for s in entry.sliders]}

  found = {
    'games': {name: as_dict(toy) for name, toy in toys.items()},
    'methods': {name: as_dict(method) for name, method in methods.items()},
  }
  toy = next(iter(toys.values()))
  for name, method in methods.items():
    _, found['methods'][name]['size'] = trace_step(toy, method)
  return found


def make_page(toys: dict[str, Toy], methods: dict[str, Method]) -> str:
  """The page."""
  with jax.enable_x64(True):
    functions = write_functions(toys, methods)
    description = json.dumps(describe(toys, methods), ensure_ascii=False)
  return string.Template(TEMPLATE.read_text()).substitute(
    functions=functions, description=description, script=SCRIPT.read_text()
  )


def draw_portrait(num_steps: int) -> Figure:
  """Draws the first game with a little penalty, which drift makes diverge."""
  toy, name, penalty = TOYS['dirac_gan'], 'simultaneous', 0.05
  rates = (toy.rate,) * 2
  with jax.enable_x64(True):
    losses = toy.make(penalty)
    way = METHODS[name].make(losses, rates, 0.0, 0.0)
    portrait = _portrait.Portrait(
      flow=flows.flow_of_descent(losses, rates),
      modified=flows.modified_flow_of_descent(losses, rates),
      rule=way.rule,
      field=way.field,
      start=toy.start,
      num_steps=num_steps,
      names=toy.names,
      extent=toy.extent,
      method=name,
    )
    title = f'{toy.title} with penalty R1 of {penalty}, h = {toy.rate}'
    return _portrait.draw(portrait, f'{title}, {num_steps} steps')


def main() -> None:
  """Writes the page; a quick one has the first two games and methods."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--size', choices=tuple(COSTS), default='small')
  output, number = OUTPUT, None
  size = parser.parse_args().size
  if size == 'quick':
    output, number = _output.FOLDER / OUTPUT.name, 2
    output.parent.mkdir(parents=True, exist_ok=True)
  some = [dict(list(all_.items())[:number]) for all_ in (TOYS, METHODS)]
  output.write_text(make_page(*some))
  print(output)
  figure = draw_portrait(num_steps=10 if size == 'quick' else 100)
  _output.write_picture('phase_portrait', size, figure)


if __name__ == '__main__':
  main()
