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
"""The style of all pictures: a size that a README can show, colours by method.

A README shows them 800 pixels wide, where text of 9 points is 10 pixels high.
"""

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 9.6  # Inches.
_DPI = 150

# A method, a flow or an adjustment has its colour in every picture.
METHODS = {
  'flow': '#9aa0a6',
  'modified flow': '#edae49',
  'simultaneous': '#d1495b',
  'alternating': '#2f6db3',
  'drift cancelled': '#00798c',
  'optimistic': '#7cb342',
  'SGA': '#e07b00',
  'LOGAN': '#5c6bc0',
  'Runge-Kutta 4': '#6d4c41',
}
_SYNONYMS = {
  'interaction terms cancelled': 'drift cancelled',
  'optimistic descent': 'optimistic',
}

# A loss's colour is no method's.
LOSSES = {
  'saturating': '#5b2a86',
  'zero-sum': '#5b2a86',
  'zero-sum, spectral norm': '#d16ba5',
  'non-saturating': '#8c6d31',
  'hinge': '#e377c2',
  'least squares': '#1a1a1a',
  'Wasserstein, penalty': '#20a4b5',
}

DIVERGENCES = {
  'kl': 'KL',
  'reverse_kl': 'reverse KL',
  'pearson': 'Pearson χ²',
  'squared_hellinger': 'squared Hellinger',
  'jensen_shannon': 'Jensen-Shannon',
}

mpl.rcParams.update(
  {
    'axes.labelsize': 10,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlesize': 10.5,
    'figure.titlesize': 11.5,
    'font.size': 10,
    'legend.fontsize': 9.5,
    'legend.frameon': False,
    'xtick.labelsize': 9,
    'ytick.labelsize': 9,
  }
)


def color_of(method: str, otherwise: str) -> str:
  """The colour of a method by any of its names, or else the one given."""
  return METHODS.get(_SYNONYMS.get(method, method), otherwise)


def new_figure(height: float, title: str = '') -> Figure:
  """An empty figure as wide as all, with the title of the whole."""
  figure = Figure(figsize=(WIDTH, height), dpi=_DPI, layout='constrained')
  if title:
    figure.suptitle(title)
  return figure


def place_legend(figure: Figure, *panels: Axes, ncols: int = 5) -> None:
  """One legend for all of these panels, below them."""
  entries: dict[str, Artist] = {}
  for axes in panels:
    handles, labels = axes.get_legend_handles_labels()
    entries |= dict(zip(labels, handles, strict=True))
  figure.legend(
    handles=list(entries.values()),
    labels=list(entries),
    loc='outside lower center',
    ncols=ncols,
  )
