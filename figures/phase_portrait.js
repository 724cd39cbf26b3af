// Copyright 2026 The differentiable_games Authors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     https://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.
// The drawing of the page phase_portrait.html. FUNCTIONS are the library's.

'use strict';

const DESCRIPTION = JSON.parse(
  document.getElementById('description').textContent);
const SUBSTEPS = 12;  // Of a flow, for each step.
const FAR = 1e6;
const GRID = 21;  // Arrows, and shaded cells, along a side.
const CELLS = 32;

const element = id => document.getElementById(id);

// Mathematics.

/** The roots of a real polynomial x^n + c[n-1] x^(n-1) + ... + c[0]. */
function findRoots(c) {
  const n = c.length;
  if (n === 2) {  // Exact, also where both are the same.
    const half = -c[1] / 2, under = half * half - c[0];
    const root = Math.sqrt(Math.abs(under));
    return under >= 0 ? [[half - root, 0], [half + root, 0]]
      : [[half, -root], [half, root]];
  }
  const times = (a, b) => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
  const divide = (a, b) => {
    const norm = b[0] * b[0] + b[1] * b[1];
    return [(a[0] * b[0] + a[1] * b[1]) / norm, (a[1] * b[0] - a[0] * b[1]) / norm];
  };
  const radius = 1 + Math.max(...c.map(Math.abs));
  let roots = c.map((_, k) => {
    const angle = 2 * Math.PI * k / n + 0.4;
    return [radius * Math.cos(angle) / 2, radius * Math.sin(angle) / 2];
  });
  for (let round = 0; round < 500; round++) {  // Durand and Kerner's.
    let moved = 0;
    roots.forEach((root, k) => {
      let value = [1, 0], others = [1, 0];
      for (let i = n - 1; i >= 0; i--) {
        value = times(value, root);
        value[0] += c[i];
      }
      roots.forEach((other, j) => {
        if (j !== k) {
          others = times(others, [root[0] - other[0], root[1] - other[1]]);
        }
      });
      if (others[0] === 0 && others[1] === 0) return;
      const step = divide(value, others);
      roots[k] = [root[0] - step[0], root[1] - step[1]];
      moved = Math.max(moved, Math.hypot(...step));
    });
    if (moved < 1e-15) break;
  }
  return roots;
}

/** The eigenvalues of a real matrix, as pairs of real and imaginary part. */
function findEigenvalues(matrix) {
  const n = matrix.length;
  const c = Array(n).fill(0);
  let product = matrix.map(row => row.map(() => 0));
  let last = 1;
  for (let k = 1; k <= n; k++) {  // Faddeev and LeVerrier's.
    const shifted = product.map((row, i) =>
      row.map((v, j) => v + (i === j ? last : 0)));
    product = matrix.map(row => row.map((_, j) =>
      row.reduce((sum, v, m) => sum + v * shifted[m][j], 0)));
    last = -product.reduce((sum, row, i) => sum + row[i], 0) / k;
    c[n - k] = last;
  }
  return findRoots(c);
}

/** The Jacobian at a state of one of the game's functions. */
function findJacobian(game, name, z, coefficients) {
  const derivative = FUNCTIONS[game][name + '_derivative'];
  const columns = z.map((_, k) => derivative(
    ...z.map((_, i) => +(i === k)), ...z, ...coefficients));
  return z.map((_, i) => columns.map(column => column[i]));
}

/** The states of so many steps, the start first; shorter where they leave. */
function followSteps(step, z, coefficients, count) {
  const states = [z];
  for (let k = 0; k < count; k++) {
    z = step(...z, ...coefficients);
    if (!(Math.hypot(z[0], z[1]) < FAR)) break;
    states.push(z);
  }
  return states;
}

/** The points of a flow, SUBSTEPS for each step, by Runge-Kutta's rule. */
function followFlow(field, z, coefficients, count) {
  const points = [z];
  const h = 1 / SUBSTEPS;
  const at = (x, y) => field(x, y, ...coefficients);
  for (let k = 0; k < count * SUBSTEPS; k++) {
    const [x, y] = z;
    const a = at(x, y);
    const b = at(x - h / 2 * a[0], y - h / 2 * a[1]);
    const c = at(x - h / 2 * b[0], y - h / 2 * b[1]);
    const d = at(x - h * c[0], y - h * c[1]);
    z = [0, 1].map(i => z[i] - h / 6 * (a[i] + 2 * b[i] + 2 * c[i] + d[i]));
    if (!(Math.hypot(...z) < FAR)) break;
    points.push(z);
  }
  return points;
}

// What is chosen.

const COMMON = {
  rate: {label: 'learning rate of the first, h₁', low: 0.01},
  otherRate: {label: 'learning rate of the second, h₂', low: 0.01},
  count: {label: 'steps', low: 1, high: 500, step: 1},
};
let chosen;

function defaultsOf(entry) {
  return entry.sliders.map(slider => slider.value);
}

function choose(game, method) {
  const toy = DESCRIPTION.games[game];
  chosen = {
    game, method,
    rate: toy.rate, otherRate: toy.rate, count: 60, start: [...toy.start],
    gameCoefficients: defaultsOf(toy),
    methodCoefficients: defaultsOf(DESCRIPTION.methods[method]),
  };
}

function flowCoefficients() {
  return [chosen.rate, chosen.otherRate, ...chosen.gameCoefficients];
}

function stepCoefficients() {
  return [
    chosen.rate, chosen.otherRate,
    ...chosen.methodCoefficients, ...chosen.gameCoefficients];
}

/** All that is drawn, of what is chosen. */
function compute() {
  const {game, method, start, count} = chosen;
  const own = FUNCTIONS[game];
  const size = DESCRIPTION.methods[method].size;
  const state = [...start, ...Array(size - 2).fill(0)];
  const exponential = ([re, im]) => [
    Math.exp(-re) * Math.cos(im), -Math.exp(-re) * Math.sin(im)];
  const result = {
    flow: {
      points: followFlow(own.flow, start, flowCoefficients(), count),
      eigenvalues: findEigenvalues(
        findJacobian(game, 'flow', [0, 0], flowCoefficients())
      ).map(exponential),
    },
    steps: {
      points: followSteps(
        own[method + '_step'], state, stepCoefficients(), count),
      eigenvalues: findEigenvalues(findJacobian(
        game, method + '_step', Array(size).fill(0), stepCoefficients())),
    },
  };
  const modified = method + '_modified';
  if (own[modified]) {
    result.modified = {
      points: followFlow(own[modified], start, stepCoefficients(), count),
      eigenvalues: findEigenvalues(
        findJacobian(game, modified, [0, 0], stepCoefficients())
      ).map(exponential),
    };
  }
  for (const part of Object.values(result)) {
    part.factor = Math.max(...part.eigenvalues.map(e => Math.hypot(...e)));
  }
  return result;
}

// Drawing.

const colour = name =>
  getComputedStyle(document.documentElement).getPropertyValue('--' + name);

/** A canvas's context, cleared, in CSS pixels. */
function prepare(canvas) {
  const {width, height} = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  context.font = '12px system-ui, sans-serif';
  context.fillStyle = colour('quiet');
  return {context, width, height};
}

function drawLine(context, points, style, lineWidth) {
  context.beginPath();
  points.forEach(([x, y], k) => k ? context.lineTo(x, y) : context.moveTo(x, y));
  context.strokeStyle = style;
  context.lineWidth = lineWidth;
  context.stroke();
}

function drawDot(context, [x, y], style, radius, filled = true) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 2;
  context[filled ? 'fillStyle' : 'strokeStyle'] = style;
  context[filled ? 'fill' : 'stroke']();
}

/** Whether the steps from the middle of a cell end nearer to (0, 0). */
function endNearer(i, j, extent) {
  const step = FUNCTIONS[chosen.game][chosen.method + '_step'];
  const start = [i, j].map(k => (2 * (k + 0.5) / CELLS - 1) * extent);
  const rest = Array(DESCRIPTION.methods[chosen.method].size - 2).fill(0);
  const end = followSteps(
    step, [...start, ...rest], stepCoefficients(), chosen.count);
  return end.length > chosen.count && Math.hypot(...end.at(-1).slice(0, 2))
    < Math.hypot(...start) * (1 - 1e-9);
}

function findShade() {
  const {extent} = DESCRIPTION.games[chosen.game];
  const found = [];
  for (let i = 0; i < CELLS; i++) {
    for (let j = 0; j < CELLS; j++) {
      if (endNearer(i, j, extent)) found.push([i, j]);
    }
  }
  return found;
}

function drawShade(context, width, cells) {
  const side = width / CELLS;
  context.fillStyle = colour('nearer');
  for (const [i, j] of cells) {
    context.fillRect(i * side, width - (j + 1) * side, side + 0.5, side + 0.5);
  }
}

function drawArrows(context, place, extent) {
  const field = FUNCTIONS[chosen.game].flow;
  const arrows = [];
  for (let i = 0; i < GRID; i++) {
    for (let j = 0; j < GRID; j++) {
      const at = [i, j].map(k => (2 * (k + 0.5) / GRID - 1) * extent);
      const [u, v] = field(...at, ...flowCoefficients());
      arrows.push({at, u: -u, v: -v, speed: Math.hypot(u, v)});
    }
  }
  const fastest = Math.max(...arrows.map(a => a.speed).filter(Number.isFinite));
  for (const {at, u, v, speed} of arrows) {
    if (!(speed > 0) || !Number.isFinite(speed)) continue;
    const length = (2 * extent / GRID) * 0.85 * (speed / fastest) ** 0.4;
    const [dx, dy] = [u / speed * length / 2, v / speed * length / 2];
    const tail = place([at[0] - dx, at[1] - dy]);
    const head = place([at[0] + dx, at[1] + dy]);
    drawLine(context, [tail, head], colour('arrow'), 1);
    const angle = Math.atan2(head[1] - tail[1], head[0] - tail[0]);
    const barb = turn => [
      head[0] + 4 * Math.cos(angle + turn), head[1] + 4 * Math.sin(angle + turn)];
    drawLine(context, [barb(-2.6), head, barb(2.6)], colour('arrow'), 1);
  }
}

function drawPlane(result, shade) {
  const {context, width} = prepare(element('plane'));
  const toy = DESCRIPTION.games[chosen.game];
  const {extent, names} = toy;
  const place = ([x, y]) => [
    (x / extent + 1) * width / 2, (1 - y / extent) * width / 2];
  drawShade(context, width, shade);
  drawArrows(context, place, extent);
  drawLine(context, [place([-extent, 0]), place([extent, 0])], colour('line'), 1);
  drawLine(context, [place([0, -extent]), place([0, extent])], colour('line'), 1);
  drawLine(context, result.flow.points.map(place), colour('flow'), 3);
  if (result.modified) {
    drawLine(context, result.modified.points.map(place), colour('modified'), 2);
  }
  for (const state of result.steps.points) {
    drawDot(context, place(state), colour('steps'), 2.6);
  }
  context.fillStyle = colour('text');
  context.font = '22px system-ui, sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText('★', ...place(chosen.start));
  context.font = '13px system-ui, sans-serif';
  context.fillStyle = colour('quiet');
  context.fillText(`${names[0]} = ${extent}`, width - 32, width / 2 + 12);
  context.fillText(`${names[1]} = ${extent}`, width / 2 + 32, 12);
}

function drawCircle(result) {
  const {context, width} = prepare(element('circle'));
  const all = Object.values(result).flatMap(part => part.eigenvalues);
  const reach = Math.max(1.2, ...all.map(e => 1.1 * Math.hypot(...e)));
  const extent = Number.isFinite(reach) ? reach : 1.2;
  const place = ([x, y]) => [
    (x / extent + 1) * width / 2, (1 - y / extent) * width / 2];
  drawLine(context, [place([-extent, 0]), place([extent, 0])], colour('line'), 1);
  drawLine(context, [place([0, -extent]), place([0, extent])], colour('line'), 1);
  context.beginPath();
  context.arc(width / 2, width / 2, width / 2 / extent, 0, 2 * Math.PI);
  context.strokeStyle = colour('quiet');
  context.lineWidth = 1;
  context.stroke();
  const [right, top] = place([1, 0]);
  context.fillText('1', Math.min(right + 3, width - 9), top + 14);
  for (const [name, radius, filled] of [
    ['flow', 8, false], ['modified', 5.5, false], ['steps', 3, true],
  ]) {
    if (!result[name]) continue;
    for (const value of result[name].eigenvalues) {
      drawDot(context, place(value), colour(name), radius, filled);
    }
  }
}

function drawDistances(result) {
  const {context, width, height} = prepare(element('distance'));
  const curves = Object.entries(result).map(([name, part]) => ({
    name,
    values: part.points.map(z => Math.hypot(z[0], z[1])),
    spacing: name === 'steps' ? 1 : 1 / SUBSTEPS,
  }));
  const exponents = curves.flatMap(curve => curve.values)
    .map(v => Math.log10(Math.max(v, 1e-12)));
  const low = Math.floor(Math.min(...exponents));
  const high = Math.max(Math.ceil(Math.max(...exponents)), low + 1);
  const left = 34, bottom = height - 20;
  const place = (k, v) => [
    left + k / chosen.count * (width - left - 6),
    bottom - (Math.log10(Math.max(v, 1e-12)) - low) / (high - low) * (bottom - 8),
  ];
  const every = Math.ceil((high - low) / 6);
  for (let exponent = low; exponent <= high; exponent += every) {
    const [x, y] = place(0, 10 ** exponent);
    drawLine(context, [[x, y], [width - 6, y]], colour('line'), 1);
    const text = Math.abs(exponent) < 4 ? `${+(10 ** exponent).toPrecision(1)}`
      : `1e${exponent}`;
    context.fillText(text, 0, y + 4);
  }
  context.fillText('0', left, height - 4);
  context.textAlign = 'right';
  context.fillText(`${chosen.count} steps`, width - 6, height - 4);
  for (const {name, values, spacing} of curves) {
    if (name === 'steps' && chosen.count <= 120) {
      values.forEach((v, k) =>
        drawDot(context, place(k, v), colour(name), 1.8));
    } else {
      drawLine(
        context, values.map((v, k) => place(k * spacing, v)), colour(name),
        name === 'flow' ? 3 : 1.5);
    }
  }
}

function judge(factor) {
  if (!Number.isFinite(factor)) return 'unknown';
  if (Math.abs(factor - 1) < 1e-9) return 'neither';
  return factor < 1 ? 'drawn in' : 'driven off';
}

function report(result) {
  for (const name of ['flow', 'modified', 'steps']) {
    const part = result[name];
    element(name + '-factor').textContent = part ? part.factor.toFixed(5) : '–';
    element(name + '-verdict').textContent = part ? judge(part.factor) : '–';
  }
  element('note').textContent = DESCRIPTION.methods[chosen.method].note;
  const end = result.steps.points.at(-1);
  const told = 'Near (0, 0), by the flow: ' + judge(result.flow.factor)
    + '; by steps: ' + judge(result.steps.factor) + `. The steps end at (${end[0].toPrecision(3)}, ${end[1].toPrecision(3)}).`;
  element('plane').setAttribute('aria-label', told);
  element('circle').setAttribute('aria-label', 'The largest has modulus '
    + result.steps.factor.toPrecision(6) + '.');
  element('distance').setAttribute('aria-label', 'It begins at '
    + Math.hypot(...chosen.start).toPrecision(3) + ' and ends at '
    + Math.hypot(end[0], end[1]).toPrecision(3) + '.');
}

let asked = 0, timer = 0, shade = [];

/** Draws before the next picture of the screen, once; the shade a bit later. */
function redraw() {
  if (asked) return;
  asked = requestAnimationFrame(() => {
    asked = 0;
    const result = compute();
    clearTimeout(timer);
    if (element('shaded').checked) {
      timer = setTimeout(() => drawPlane(result, shade = findShade()), 100);
    } else {
      shade = [];
    }
    drawPlane(result, shade);
    drawCircle(result);
    drawDistances(result);
    report(result);
  });
}

// Controls.

/** A labelled slider that calls back with its value. */
function makeSlider(parent, id, slider, value, change) {
  const label = document.createElement('label');
  const line = document.createElement('span');
  const shown = document.createElement('output');
  const input = document.createElement('input');
  Object.assign(input, {
    type: 'range', id, min: slider.low, max: slider.high,
    step: slider.step ?? 0.01,
  });
  input.value = value;
  const show = () => shown.value = String(+input.value);
  input.addEventListener('input', () => {
    show();
    change(+input.value);
    redraw();
  });
  show();
  line.append(slider.label, shown);
  label.append(line, input);
  parent.append(label);
  return {input, set: value => { input.value = value; show(); }};
}

function makeSliders() {
  const toy = DESCRIPTION.games[chosen.game];
  const method = DESCRIPTION.methods[chosen.method];
  for (const [kind, entry] of [['game', toy], ['method', method]]) {
    element(kind).value = chosen[kind];
    element(kind + '-formula').textContent = entry.formula;
    element(kind + '-sliders').replaceChildren();
    entry.sliders.forEach((slider, k) => makeSlider(
      element(kind + '-sliders'), `${kind}-${k}`, slider,
      chosen[kind + 'Coefficients'][k],
      value => { chosen[kind + 'Coefficients'][k] = value; }));
  }
  element('common-sliders').replaceChildren();
  const made = {};
  for (const [name, slider] of Object.entries(COMMON)) {
    made[name] = makeSlider(
      element('common-sliders'), name,
      {high: toy.max_rate, ...slider}, chosen[name], value => {
        chosen[name] = value;
        const other = {rate: 'otherRate', otherRate: 'rate'}[name];
        if (other && element('linked').checked) {
          chosen[other] = value;
          made[other].set(value);
        }
      });
  }
}

/** Keeps what is chosen in the address, so that it can be sent to others. */
function remember() {
  history.replaceState(
    null, '', '#' + encodeURIComponent(JSON.stringify(chosen)));
}

function recall() {
  choose('dirac_gan', 'simultaneous');
  try {
    const kept = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    const toy = DESCRIPTION.games[kept.game];
    const method = DESCRIPTION.methods[kept.method];
    const numbers = [
      kept.rate, kept.otherRate, kept.count, ...kept.start,
      ...kept.gameCoefficients, ...kept.methodCoefficients];
    if (numbers.every(Number.isFinite) && kept.start.length === 2
        && kept.gameCoefficients.length === toy.sliders.length
        && kept.methodCoefficients.length === method.sliders.length) {
      const {game, method: way, ...rest} = kept;
      choose(game, way);
      for (const name of Object.keys(rest)) {
        if (name in chosen) chosen[name] = rest[name];
      }
      element('linked').checked = chosen.rate === chosen.otherRate;
    }
  } catch {
    // There is no such address, or it is of another page: begin as usual.
  }
}

function fill(kind, entries) {
  for (const [name, entry] of Object.entries(entries)) {
    element(kind).append(new Option(entry.title, name));
  }
}

function moveStart(event) {
  const box = element('plane').getBoundingClientRect();
  const {extent} = DESCRIPTION.games[chosen.game];
  const within = v => Math.max(-1, Math.min(1, v)) * extent;
  chosen.start = [
    within(2 * (event.clientX - box.left) / box.width - 1),
    within(1 - 2 * (event.clientY - box.top) / box.height),
  ];
  redraw();
}

function nudgeStart(event) {
  const by = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
  }[event.key];
  if (!by) return;
  event.preventDefault();
  const {extent} = DESCRIPTION.games[chosen.game];
  chosen.start = chosen.start.map((v, i) =>
    Math.max(-extent, Math.min(extent, v + by[i] * extent / 50)));
  redraw();
  remember();
}

fill('game', DESCRIPTION.games);
fill('method', DESCRIPTION.methods);
recall();
makeSliders();
redraw();

element('game').addEventListener('change', () => {
  const {method, methodCoefficients} = chosen;
  choose(element('game').value, method);
  chosen.methodCoefficients = methodCoefficients;
  element('linked').checked = true;
  shade = [];
  makeSliders();
  redraw();
});
element('method').addEventListener('change', () => {
  chosen.method = element('method').value;
  chosen.methodCoefficients =
    defaultsOf(DESCRIPTION.methods[chosen.method]);
  makeSliders();
  redraw();
});
element('linked').addEventListener('change', () => {
  if (element('linked').checked) {
    chosen.otherRate = chosen.rate;
    makeSliders();
  }
  redraw();
});
element('shaded').addEventListener('change', redraw);
element('controls').addEventListener('change', remember);
element('controls').addEventListener('submit', event => event.preventDefault());
element('controls').addEventListener('reset', event => {
  event.preventDefault();
  choose(chosen.game, chosen.method);
  element('linked').checked = true;
  makeSliders();
  redraw();
  remember();
});
element('plane').addEventListener('pointerdown', event => {
  element('plane').setPointerCapture(event.pointerId);
  moveStart(event);
});
element('plane').addEventListener('pointermove', event => {
  if (event.buttons) moveStart(event);
});
element('plane').addEventListener('pointerup', remember);
element('plane').addEventListener('keydown', nudgeStart);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
addEventListener('resize', redraw);
