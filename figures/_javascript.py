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
"""Writes functions of numbers as JavaScript: what JAX traces, op by op."""

from collections.abc import Callable, Sequence
import math
import re
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp

# Expressions of operands {0}, {1}, …, by the name of JAX's primitive.
_EXPRESSIONS = {
  'abs': 'abs({0})',
  'add': '{0}+{1}',
  'add_any': '{0}+{1}',
  'and': '{0}&&{1}',
  'copy': '{0}',
  'copy_p': '{0}',
  'cos': 'cos({0})',
  'div': '{0}/{1}',
  'eq': '{0}==={1}',
  'exp': 'exp({0})',
  'expm1': 'expm1({0})',
  'ge': '{0}>={1}',
  'gt': '{0}>{1}',
  'is_finite': 'Number.isFinite({0})',
  'le': '{0}<={1}',
  'log': 'log({0})',
  'log1p': 'log1p({0})',
  'logistic': '1/(1+exp(-{0}))',
  'lt': '{0}<{1}',
  'max': 'max({0},{1})',
  'min': 'min({0},{1})',
  'mul': '{0}*{1}',
  'ne': '{0}!=={1}',
  'neg': '-{0}',
  'not': '!{0}',
  'or': '{0}||{1}',
  'pow': '{0}**{1}',
  # A choice is by a boolean, and its second operand is the one where it is not.
  'select_n': '{0}?{2}:{1}',
  'sign': 'sign({0})',
  'sin': 'sin({0})',
  'sqrt': 'sqrt({0})',
  'square': '{0}*{0}',
  'stop_gradient': '{0}',
  'sub': '{0}-{1}',
  'tanh': 'tanh({0})',
}
_FUNCTIONS = (
  *('abs', 'cos', 'exp', 'expm1', 'log', 'log1p', 'max', 'min', 'sign'),
  *('sin', 'sqrt', 'tanh'),
)
# Of numbers: they change a shape that is () to ().
_SAME = {'broadcast_in_dim', 'reduce_sum', 'reshape', 'squeeze'}
_NESTED = {
  **dict.fromkeys(('jit', 'pjit', 'closed_call'), 'jaxpr'),
  'custom_jvp_call': 'call_jaxpr',
  'custom_vjp_call': 'call_jaxpr',
}

# What the functions find around them.
PRELUDE = f'const {{{", ".join(_FUNCTIONS)}}} = Math;'


def write_function(function: Callable[..., Any], num_arguments: int) -> str:
  """A function of numbers as an arrow function of JavaScript.

  Zero times anything is zero there, also where that is infinite.

  Args:
    function: maps so many float64 scalars to a pytree of scalars. It may be
      anything that JAX traces and that has no arrays, loops or conditions.
    num_arguments: how many.

  Returns:
    The source of a function that gives an array, the leaves in their order. It
    needs `PRELUDE`.

  Raises:
    NotImplementedError: for what it cannot write.
  """
  with jax.enable_x64(True):
    traced = jax.make_jaxpr(function)(
      *(jax.ShapeDtypeStruct((), jnp.float64),) * num_arguments
    )
  return _Writer(num_arguments).write(traced)


class _Writer:
  """Names what is computed, equal things once."""

  def __init__(self, num_arguments: int):
    self._arguments = [f'x{i}' for i in range(num_arguments)]
    self._names: dict[str, str] = {}  # Of expressions.

  def write(self, closed: core.ClosedJaxpr) -> str:
    """The function's source."""
    results = self._run(closed, self._arguments)
    lines = []
    wanted = set(results)
    for expression, name in reversed(self._names.items()):
      if name in wanted:
        lines.append(f'{name}={expression}')
        wanted.update(re.findall(r'\b[xv]\d+\b', expression))
    declared = f'const {",".join(reversed(lines))};' if lines else ''
    return (
      f'({",".join(self._arguments)})=>'
      f'{{{declared}return[{",".join(results)}]}}'
    )

  def _run(
    self, closed: core.ClosedJaxpr, arguments: Sequence[str]
  ) -> list[str]:
    """The names of what a traced program gives for named arguments."""
    jaxpr = closed.jaxpr
    known = dict(zip(jaxpr.invars, arguments, strict=True))
    for variable, value in zip(jaxpr.constvars, closed.consts, strict=True):
      known[variable] = _write_number(value)

    def name_of(atom):
      if isinstance(atom, core.Literal):
        return _write_number(atom.val)
      return known[atom]

    for equation in jaxpr.eqns:
      results = self._apply(equation, [name_of(a) for a in equation.invars])
      known.update(zip(equation.outvars, results, strict=True))
    return [name_of(atom) for atom in jaxpr.outvars]

  def _apply(self, equation: Any, operands: Sequence[str]) -> list[str]:
    primitive = equation.primitive.name
    for variable in (*equation.invars, *equation.outvars):
      if variable.aval.shape:
        raise NotImplementedError(f'{primitive} of arrays: {equation}')
    if primitive in _NESTED:
      nested = equation.params[_NESTED[primitive]]
      return self._run(nested, operands)
    if primitive in _SAME:
      return [operands[0]]
    if primitive == 'convert_element_type':
      return [self._convert(equation, operands[0])]
    if primitive == 'integer_pow':
      return [self._name(f'{_brace(operands[0])}**{equation.params["y"]}')]
    if primitive not in _EXPRESSIONS:
      raise NotImplementedError(f'{primitive} has no JavaScript: {equation}')
    return [self._simplify(primitive, operands)]

  def _convert(self, equation: Any, operand: str) -> str:
    old, new = (v.aval.dtype for v in (equation.invars[0], equation.outvars[0]))
    if jnp.issubdtype(new, jnp.floating):
      return self._name(f'+{operand}') if old == jnp.bool_ else operand
    raise NotImplementedError(f'A conversion to {new}: {equation}')

  def _simplify(self, primitive: str, operands: Sequence[str]) -> str:
    operands = ['0' if name == '-0' else name for name in operands]
    if primitive == 'mul':
      if '0' in operands:
        return '0'
      if '1' in operands:
        return operands[1 - operands.index('1')]
    if primitive in ('add', 'add_any') and '0' in operands:
      return operands[1 - operands.index('0')]
    if primitive == 'neg' and not operands[0].startswith(('v', 'x')):
      return operands[0][1:] if operands[0][0] == '-' else f'-{operands[0]}'
    if primitive in ('mul', 'add', 'add_any'):
      operands = sorted(operands)
    pattern = _EXPRESSIONS[primitive]
    if pattern == '{0}':
      return operands[0]
    return self._name(pattern.format(*map(_brace, operands)))

  def _name(self, expression: str) -> str:
    return self._names.setdefault(expression, f'v{len(self._names)}')


def _brace(operand: str) -> str:
  """An operand that begins with a sign, in brackets."""
  return f'({operand})' if operand.startswith('-') else operand


def _write_number(value: Any) -> str:
  value = value.item() if hasattr(value, 'item') else value
  if isinstance(value, bool):
    return 'true' if value else 'false'
  if math.isfinite(value):
    return repr(value).removesuffix('.0')
  if math.isnan(value):
    return 'NaN'
  return 'Infinity' if value > 0 else '-Infinity'
