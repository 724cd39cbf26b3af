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
"""The page about runs, of folders made here."""

import base64
import html.parser
import io
import json
import os
import re
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest

from dd_two_player_games import report
from dd_two_player_games import report_comparison
from dd_two_player_games import report_figures
from dd_two_player_games import run_record
from jaxline_harness import errors
from tests.dd_two_player_games import browser

TERMS = ('self_norm', 'other_dot_prod', 'other_norm')
DYNAMICS = [
  *('alignment', 'rotation', 'sample_spread', 'e_flow', 'e_modified'),
  *('e_uncertainty', 'something_new'),
  *(f'{p}/{k}_norm' for p in ('disc', 'gen') for k in ('gradient', 'update')),
  *(
    f'{p}/{term}/{kind}'
    for p in ('disc', 'gen')
    for term in TERMS
    for kind in ('relative_norm', 'cosine', 'share', 'drift')
  ),
]
SPECTRUM = [
  *(f'eigenvalue_{k}/{part}' for k in range(1, 6) for part in ('real', 'imag')),
  *('smallest_real', 'largest_real', 'stable', 'locally_nash'),
  *(
    f'{p}/hessian_{k}' for p in ('disc', 'gen') for k in ('smallest', 'largest')
  ),
]


def write_table(folder, columns, steps=(1, 2, 3), value=lambda step, k: 0.5):
  folder.mkdir(parents=True, exist_ok=True)
  lines = [f'step,{",".join(columns)},seconds']
  for step in steps:
    cells = [str(value(step, k)) for k in range(len(columns))]
    lines.append(','.join([str(step), *cells, str(step / 10)]))
  (folder / 'metrics.csv').write_text('\n'.join(lines) + '\n')


def write_picture(path, size=64, seed=0):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)
  Image.fromarray(pixels).save(path)


def write_config(folder, changed=None, **settings):
  """Writes a config.json; settings are those of the experiment."""
  training = {
    'simultaneous_updates': True,
    'num_disc_updates': 1,
    'num_gen_updates': 1,
  }
  config = {
    'checkpoint_dir': str(folder),
    'training_steps': 3,
    'experiment_kwargs': {
      'config': {'random_seed': 0, 'training': training} | settings
    },
  }
  folder.mkdir(parents=True, exist_ok=True)
  described = {
    'config': config,
    'changed_defaults': changed or {},
    'versions': {'jax': '0.0.1'},
    'git_commit': 'abcdef',
    'devices': ['cpu cpu', 'cpu cpu'],
  }
  (folder / 'config.json').write_text(json.dumps(described))


def make_run(folder, **settings):
  """Makes the folder of a run that has everything."""

  def wave(step, k):
    return 1.5 + np.sin(step + k)

  write_config(folder, **settings)
  losses = ['disc_loss', 'gen_loss', 'net/layer/sv', 'steps_per_sec']
  write_table(folder / 'train', losses, value=wave)
  write_table(folder / 'dynamics', DYNAMICS, value=wave)
  write_table(folder / 'spectrum', SPECTRUM, value=lambda s, k: (k + s) % 2)
  metrics = ['IS_mean', 'IS_std', 'FID', 'FID_std', 'FID_floor']
  write_table(folder / 'eval', metrics, value=wave)
  for step in (1, 2, 3):
    write_picture(folder / 'samples' / f'step_{step:08d}.png', seed=step)
    (folder / 'checkpoints' / 'latest' / str(step)).mkdir(parents=True)
  return folder


class Parser(html.parser.HTMLParser):
  """A page's elements and text."""

  def __init__(self, page: str):
    super().__init__()
    self.elements: list[tuple[str, dict]] = []
    self.texts: list[str] = []
    self.scripts: list[str] = []
    self._in_script = False
    self.feed(page)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    self._in_script = tag in ('script', 'style')
    if tag != 'wbr':  # A place within a word.
      self.texts.append(' ')

  def handle_endtag(self, tag):
    self._in_script = False

  def handle_data(self, data):
    (self.scripts if self._in_script else self.texts).append(data)

  @property
  def text(self):
    return ' '.join(''.join(self.texts).split())

  def figures(self):
    (figures,) = (s for s in self.scripts if s.startswith('[{'))
    return json.loads(figures)

  def named(self, tag):
    return [attributes for name, attributes in self.elements if name == tag]


def make_page(*folders):
  return report.make_report([str(folder) for folder in folders])


def decode(spec):
  return np.frombuffer(base64.b64decode(spec['bdata']), spec['dtype'])


# One run.


def test_page_of_one_run(tmp_path):
  folder = make_run(tmp_path / 'my_run')
  content = make_page(folder)
  page = Parser(content)
  assert len(content.encode()) < report.MAX_BYTES
  assert '<title>my_run, step 3</title>' in content
  titles = re.findall(r'<h2 id="section-\d+">([^<]*)', content)
  assert titles == [
    *('Config', 'Losses', 'Metrics', 'Samples', 'Dynamics', 'Spectrum'),
    'What happened',
  ]
  for text in (
    *(f'{p}: measured drift' for p in ('disc', 'gen')),
    *('git commit', 'abcdef', '2 × cpu cpu', '0.0.1'),
    'Checkpoints kept: steps 1, 2, 3.',
    'At step 3 the players are at a point that is',
  ):
    assert text in page.text
  assert len(page.named('img')) == 3
  assert [a for a in page.named('input') if a['type'] == 'range']


def test_every_column_is_drawn_once(tmp_path):
  make_run(tmp_path / 'run')
  run = run_record.read_run(str(tmp_path / 'run'))
  figures = Parser(make_page(tmp_path / 'run')).figures()
  drawn = [
    decode(trace['y'])
    for figure in figures
    for trace in figure['data']
    if 'name' in trace
  ]
  for series, columns in (
    ('train', ['disc_loss', 'gen_loss', 'net/layer/sv', 'steps_per_sec']),
    ('eval', ['IS_mean', 'FID', 'FID_floor']),
    ('dynamics', DYNAMICS),
    ('spectrum', [n for n in SPECTRUM if 'est' in n]),
  ):
    for name in columns:
      values = run.tables[series].columns[name]
      assert any(np.allclose(values, y) for y in drawn), name
  # Beside them the metrics' floor is dashed, and deviations are bands.
  dashes = [
    trace['line']['dash']
    for figure in figures
    for trace in figure['data']
    if trace.get('name') == 'of the data'
  ]
  assert dashes == ['dash']
  fills = [t for f in figures for t in f['data'] if t.get('fill')]
  assert len(fills) == 2
  assert len(drawn) == 4 + 3 + len(DYNAMICS) + 6


def test_the_path_angle_is_that_of_the_last_measurement(tmp_path):
  write_table(
    tmp_path / 'spectrum',
    ['path_cosine/0.0', 'path_cosine/1.0', 'path_cosine/0.5', 'path_cosine/x'],
    value=lambda step, k: step / 10 + k,
  )
  (figure,) = Parser(make_page(tmp_path)).figures()
  (trace,) = figure['data']
  np.testing.assert_allclose(decode(trace['x']), [0, 0.5, 1])
  np.testing.assert_allclose(decode(trace['y']), [0.3, 2.3, 1.3], rtol=1e-6)


def test_eigenvalues_are_drawn_beside_the_unstable_half_plane(tmp_path):
  write_table(
    tmp_path / 'spectrum',
    ['eigenvalue_1/real', 'eigenvalue_1/imag', 'stable', 'locally_nash'],
    value=lambda step, k: [step, -step, step == 1, 0][k] * 1.0,
  )
  page = Parser(make_page(tmp_path))
  (figure,) = page.figures()
  (trace,) = figure['data']
  np.testing.assert_array_equal(decode(trace['x']), [1, 2, 3])
  np.testing.assert_array_equal(decode(trace['y']), [-1, -2, -3])
  np.testing.assert_array_equal(decode(trace['marker']['color']), [1, 2, 3])
  (shape,) = figure['layout']['shapes']
  assert shape['x1'] == 0
  assert figure['layout']['xaxis']['range'][0] == shape['x0'] < 0
  assert 'neither stable nor locally Nash' in page.text
  assert 'Of 3 points measured 1 were stable' in page.text


def test_what_differs_from_the_defaults_comes_first(tmp_path):
  name = f'{run_record.EXPERIMENT}training.simultaneous_updates'
  write_config(
    tmp_path,
    changed={name: False, f'{run_record.EXPERIMENT}nets.kwargs': {}},
    nets={'kwargs': {'depth': 7}},
  )
  page = Parser(make_page(tmp_path))
  before, after = page.text.split('All other settings')
  assert 'training.simultaneous_updates' in before
  assert 'training.simultaneous_updates' not in after
  assert 'depth=7' in before
  assert 'training.num_disc_updates' in after


@pytest.mark.parametrize('missing', ['config.json', 'train', 'eval', 'samples'])
def test_missing_files_are_sections_left_out(tmp_path, missing):
  folder = make_run(tmp_path / 'run')
  (folder / missing).rename(tmp_path / missing)
  section = {'config.json': 'Config', 'train': 'Losses', 'eval': 'Metrics'}
  titles = re.findall(r'<h2 id="section-\d+">([^<]*)', make_page(folder))
  assert section.get(missing, 'Samples') not in titles
  assert len(titles) == 6


def test_damaged_files_are_notes(tmp_path):
  folder = make_run(tmp_path / 'run')
  with open(folder / 'train' / 'metrics.csv', 'a') as f:
    f.write('4,nonsense,1,1,1,0.4\nhalf a li')
  (folder / 'eval' / 'metrics.csv').write_bytes(b'\0\1\2')
  (folder / 'config.json').write_text('{"config": ')
  (folder / 'samples' / 'step_00000002.png').write_text('<svg onload=x()>')
  os.mkfifo(folder / 'samples' / 'step_00000009.png')
  page = Parser(make_page(folder))
  for note in (
    'train/metrics.csv: 2 lines that cannot be read left out',
    'eval/metrics.csv: 1 line that cannot be read left out',
    'config.json cannot be read',
    'samples/step_00000002.png is no PNG',
    'samples/step_00000009.png is no PNG',
  ):
    assert note in page.text
  assert len(page.named('img')) == 2
  losses = page.figures()[0]['data'][0]
  np.testing.assert_array_equal(decode(losses['x']), [1, 2, 3])


def test_what_happened(tmp_path):
  folder = make_run(tmp_path / 'run')
  for k, process in enumerate((7, 7, 9)):
    name = f'events.out.tfevents.{1.7e9 + 60 * k:.6f}.host.{process}'
    (folder / 'train' / name).touch()
  checkpoints = folder / 'checkpoints'
  (checkpoints / 'nonfinite' / '12').mkdir(parents=True)
  (checkpoints / 'nonfinite' / '13').mkdir()
  (checkpoints / 'damaged' / 'latest' / '5').mkdir(parents=True)
  (checkpoints / 'best' / '2').mkdir(parents=True)
  (checkpoints / 'best' / '2' / 'metrics.json').write_text(
    '{"best_model_eval_metric": "FID", "best_eval_metric_value": 12.25}'
  )
  (folder / 'train' / 'metrics.csv.damaged').touch()
  text = Parser(make_page(folder)).text
  for told in (
    'The last row is of step 3 of 3, after 0.3 s.',
    'Training was taken up again 2 times; its parts wrote their first rows at: '
    '2023-11-14 22:13 UTC, 2023-11-14 22:14 UTC, 2023-11-14 22:15 UTC.',
    'Of these parts 1 began in a process that had trained before',
    'checkpoints/nonfinite: steps 12, 13.',
    'checkpoints/damaged/latest: 5.',
    'Kept as one of the best: step 2, FID 12.25.',
    'train/metrics.csv.damaged',
  ):
    assert told in text


def test_pictures_are_thinned_out_evenly(tmp_path):
  folder = make_run(tmp_path / 'run')
  for step in range(1, 101):
    write_picture(folder / 'samples' / f'step_{step:08d}.png', 256, step)
  content = make_page(folder)
  page = Parser(content)
  steps = [int(a['alt'].removeprefix('Step ')) for a in page.named('img')]
  assert 0.9 * report.MAX_BYTES < len(content.encode()) < report.MAX_BYTES
  assert f'{100 - len(steps)} of 100 pictures are left out' in page.text
  assert (steps[0], steps[-1]) == (1, 100)
  assert set(np.diff(steps)) <= {2, 3}
  assert [a['alt'] for a in page.named('img') if 'hidden' not in a] == [
    'Step 100'
  ]
  picture = base64.b64decode(page.named('img')[0]['src'].split(',')[1])
  assert Image.open(io.BytesIO(picture)).size == (256, 256)


@pytest.mark.slow
def test_long_runs_are_thinned_out(tmp_path):
  num = 200_000
  write_table(
    tmp_path / 'train',
    ['disc_loss', 'gen_loss'],
    range(num),
    value=lambda step, k: 1e9 if step == 77_777 else 1 + step / num,
  )
  content = make_page(tmp_path)
  assert len(content.encode()) < 5e6
  trace = Parser(content).figures()[0]['data'][0]
  x, y = decode(trace['x']), decode(trace['y'])
  assert len(x) <= 1000
  assert x[y == 1e9].tolist() == [77_777]
  assert (x[0], x[-1]) == (0, num - 1)


def test_values_of_all_sizes(tmp_path):
  values = [1e-300, 1.7e308, float('nan'), float('inf'), -1.7e308]
  write_table(
    tmp_path / 'train',
    ['disc_loss'],
    range(5),
    value=lambda step, k: values[step],
  )
  write_table(
    tmp_path / 'spectrum',
    SPECTRUM,
    range(5),
    value=lambda step, k: values[step],
  )
  trace = Parser(make_page(tmp_path)).figures()[0]['data'][0]
  np.testing.assert_array_equal(decode(trace['x']), [0, 1, 3, 4])
  np.testing.assert_array_equal(
    decode(trace['y']), [0, np.inf, np.inf, -np.inf]
  )


def test_what_is_measured_rarely_is_a_line(tmp_path):
  write_table(
    tmp_path / 'dynamics',
    ['rotation', 'e_flow'],
    range(100),
    lambda step, k: 0.5 if k == 0 or step % 10 == 0 else '',
  )
  trace = Parser(make_page(tmp_path)).figures()[0]['data'][0]
  assert trace['name'] == 'e_flow'
  np.testing.assert_array_equal(decode(trace['x']), np.arange(0, 100, 10))


# Several runs.


@pytest.fixture
def comparison(tmp_path):
  """Two seeds of one config, and another config."""
  return [
    make_run(tmp_path / 'a', random_seed=0, batch_size=8),
    make_run(tmp_path / 'b', random_seed=1, batch_size=8),
    make_run(tmp_path / 'c', random_seed=0, batch_size=16),
  ]


def test_page_of_several_runs(comparison):
  columns = ['disc_loss', 'gen_loss']
  for k, folder in enumerate(comparison):
    write_table(folder / 'train', columns, value=lambda s, _, k=k: s + 10 * k)
  content = make_page(*comparison)
  page = Parser(content)
  assert len(content.encode()) < report.MAX_BYTES
  assert 'a (2 runs)' in page.text
  losses = page.figures()[0]
  low, high, median, other = losses['data']
  np.testing.assert_array_equal(decode(low['y']), [1, 2, 3])
  np.testing.assert_array_equal(decode(high['y']), [11, 12, 13])
  np.testing.assert_array_equal(decode(median['y']), [6, 7, 8])
  np.testing.assert_array_equal(decode(other['y']), [21, 22, 23])
  assert other['name'] == 'c'
  assert list(losses['x']) == ['steps', 'gradients', 'seconds']
  np.testing.assert_array_equal(decode(losses['x']['gradients'][2]), [2, 4, 6])
  np.testing.assert_allclose(
    decode(losses['x']['seconds'][2]), [0.1, 0.2, 0.3], rtol=1e-6
  )
  # In the table of settings those that differ, and no other.
  table = page.text.split('What differs;')[1].split('Curves')[0]
  assert 'batch_size 8 8 16' in table
  assert 'random_seed 0 1 0' in table
  assert 'num_disc_updates' not in table
  assert 'checkpoint_dir' not in table


def test_table_is_sortable(comparison):
  content = make_page(*comparison)
  page = Parser(content)
  assert [a for a in page.named('table') if a.get('class') == 'sortable']
  head = [a for a in page.named('button') if a.get('type') == 'button']
  titles = re.findall(r'<button type="button">([^<]*)', content)
  assert len(head) == len(titles)
  assert titles[:4] == ['run', 'group', 'steps', 'seconds']
  run = run_record.read_run(str(comparison[0]))
  for name, wanted in (
    ('FID, best', run.tables['eval'].columns['FID'].min()),
    ('FID, final', run.tables['eval'].columns['FID'][-1]),
    ('IS_mean, best', run.tables['eval'].columns['IS_mean'].max()),
    ('disc_loss, final', run.tables['train'].columns['disc_loss'][-1]),
  ):
    place = titles.index(name)
    values = [a.get('data-value') for a in page.named('td')]
    values = [value for value in values if value is not None]
    assert float(values[place]) == wanted


def test_gradients_are_left_out_where_they_are_not_known(comparison):
  write_config(comparison[2], training={'adjustment': 'competitive'})
  losses = Parser(make_page(*comparison)).figures()[0]
  assert list(losses['x']) == ['steps', 'seconds']


@pytest.mark.parametrize(
  ('training', 'wanted'),
  [
    ({'simultaneous_updates': True}, 3),
    ({'update_rule': 'extragradient'}, 6),
    ({'runge_kutta_updates': True, 'runge_kutta_order': 4}, 12),
    (
      {
        'update_rule': 'runge_kutta',
        'runge_kutta_order': 4,
        'runge_kutta_tableau': [[0.5, 0.5], [[1.0]]],
      },
      6,
    ),
    ({'simultaneous_updates': False}, 3),
    ({'unrolled_steps': 5}, None),
    ({'update_rule': 'of_ones_own'}, None),
  ],
)
def test_gradients_of_a_step(tmp_path, training, wanted):
  updates = {'num_disc_updates': 2, 'num_gen_updates': 1}
  write_config(tmp_path, training=updates | training)
  assert run_record.read_run(str(tmp_path)).gradients_per_step() == wanted


def test_seeds_of_different_lengths(comparison):
  for folder, steps in zip(comparison, [(1, 2), (2, 3), (3,)], strict=True):
    write_table(folder / 'train', ['gen_loss'], steps, lambda s, _: float(s))
  losses = Parser(make_page(*comparison)).figures()[0]
  np.testing.assert_array_equal(decode(losses['data'][2]['y']), [1, 2, 3])


def test_runs_are_named_apart():
  assert report_comparison.name_runs(['/x/a', '/x/b']) == ['a', 'b']
  assert report_comparison.name_runs(['/x/a', '/y/a']) == ['x/a', 'y/a']
  assert report_comparison.name_runs(['/x', '/x']) == ['/x', '/x']


# What comes from files.

EVIL = '</script><script>alert(1)</script><img src=x onerror=alert(2)>&"\''


def test_what_comes_from_files_is_escaped(tmp_path):
  # No name of a file holds a slash.
  folder = make_run(tmp_path / EVIL.replace('/', '_'), dataset=EVIL)
  write_config(folder, {f'{run_record.EXPERIMENT}dataset': EVIL}, dataset=EVIL)
  name = '"' + EVIL.replace('"', '""') + '_loss"'
  write_table(folder / 'train', [name])
  (folder / 'checkpoints' / 'damaged' / EVIL.replace('/', '_')).mkdir(
    parents=True
  )
  plain = Parser(make_page(make_run(tmp_path / 'plain')))
  for folders in ([folder], [folder, tmp_path / 'plain']):
    page = Parser(make_page(*folders))
    assert EVIL in ''.join(page.texts)
    assert len(page.named('script')) == len(plain.named('script')) == 3
    assert all('onerror' not in attributes for _, attributes in page.elements)
    sources = [attributes['src'] for attributes in page.named('img')]
    assert all(
      source.startswith('data:image/png;base64,') for source in sources
    )
    # Plotly makes elements of a few tags.
    names = [
      t['name'] for f in page.figures() for t in f['data'] if 'name' in t
    ]
    assert not any('<' in name for name in names)


def test_page_loads_nothing(comparison):
  for content in (make_page(comparison[0]), make_page(*comparison)):
    page = Parser(content)
    plotly = max(page.scripts, key=len)
    assert plotly.count('Plotly')
    assert not re.search(
      'https?:|//cdn|@import|url\\(', content.replace(plotly, '')
    )
    for tag, attributes in page.elements:
      assert tag not in ('link', 'iframe', 'object', 'embed', 'base')
      for name in ('src', 'href'):
        assert attributes.get(name, '#').startswith(('#', 'data:image/png;'))
    (policy,) = (
      a['content']
      for a in page.named('meta')
      if a.get('http-equiv') == 'Content-Security-Policy'
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert 'connect-src' not in policy


# The command.


def run_command(*arguments, folder):
  return subprocess.run(
    [sys.executable, '-P', '-m', 'dd_two_player_games.report', *arguments],
    cwd=folder,
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_command_writes_a_page(tmp_path):
  make_run(tmp_path / 'runs' / 'a')
  make_run(tmp_path / 'runs' / 'b')
  done = run_command('runs/a', folder=tmp_path)
  assert (done.returncode, done.stderr) == (0, '')
  page = tmp_path / 'runs' / 'a' / 'report.html'
  assert done.stdout.startswith(f'{page} (')
  assert page.read_text() == make_page(tmp_path / 'runs' / 'a')
  out = tmp_path / 'new' / 'page.html'
  done = run_command('runs/a', 'runs/b', f'--out={out}', folder=tmp_path)
  assert done.returncode == 0
  assert '2 runs compared' in out.read_text()


def test_wrong_runs_are_one_line(tmp_path):
  (tmp_path / 'empty').mkdir()
  for arguments, part in (
    (['nowhere'], 'nowhere is no folder of a run'),
    (['empty'], 'empty is no folder of a run'),
    ([], 'required: RUN'),
    (['empty', '--on=x'], 'unrecognized arguments: --on=x'),
  ):
    done = run_command(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ''
    (line,) = done.stderr.splitlines()
    assert part in line


def test_page_that_cannot_be_written(tmp_path):
  make_run(tmp_path / 'a')
  (tmp_path / 'file').touch()
  done = run_command('a', '--out=file/page.html', folder=tmp_path)
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert 'cannot write' in line


def test_a_report_needs_no_jax():
  program = (
    'import sys\nfrom dd_two_player_games import report\n'
    "assert not {'jax', 'haiku', 'tensorflow'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, '-c', program], check=True, timeout=60)


def test_without_plotly(tmp_path, monkeypatch):
  make_run(tmp_path / 'a')
  monkeypatch.setitem(sys.modules, 'plotly', None)
  with pytest.raises(errors.UserError, match=r"'\.\[plots\]'"):
    make_page(tmp_path / 'a')


def test_too_many_runs_for_a_page(tmp_path, monkeypatch):
  make_run(tmp_path / 'a')
  monkeypatch.setattr(report, 'MAX_BYTES', 1_000_000)
  with pytest.raises(errors.UserError, match='name fewer'):
    make_page(tmp_path / 'a', tmp_path / 'a')


def test_chosen_rows_are_extremes():
  values = np.zeros(1000)
  values[[123, 456]] = 1, -1
  rows = report_figures.choose_rows(values, 20)
  assert {0, 123, 456, 999} <= set(rows)
  assert len(rows) <= 20
  assert (np.diff(rows) > 0).all()


# In a browser.


@pytest.fixture(scope='module')
def open_browser(tmp_path_factory):
  if browser.find() is None:
    pytest.skip('there is no Chromium')
  opened = browser.Browser(str(tmp_path_factory.mktemp('profile')))
  yield opened
  opened.close()


def wait_for(opened, condition):
  deadline = time.monotonic() + 60
  while not opened.run(condition):
    assert time.monotonic() < deadline, condition
    time.sleep(0.05)


DRAWN = """[...document.querySelectorAll('.plot')]
  .filter(plot => !plot.closest('details:not([open])'))
  .every(plot => plot.querySelector('.main-svg .trace, .main-svg .points'))"""
COLOUR = 'getComputedStyle(document.body).backgroundColor'


@pytest.mark.slow
@pytest.mark.parametrize(
  ('num_runs', 'dark', 'width'),
  [(1, False, 1400), (1, True, 400), (3, True, 1400), (3, False, 400)],
)
def test_page_in_a_browser(comparison, open_browser, width, dark, num_runs):
  out = comparison[0] / 'report.html'
  out.write_text(make_page(*comparison[:num_runs]))
  del open_browser.errors[:], open_browser.requests[:]
  open_browser.open(out.as_uri(), width, dark)
  wait_for(open_browser, DRAWN)
  open_browser.run(
    'document.querySelectorAll("details").forEach(d => d.open = true)'
  )
  wait_for(open_browser, DRAWN)
  assert open_browser.run('document.querySelectorAll(".plot").length') > 5
  # Nothing reaches beyond the window, and colours follow the scheme.
  assert open_browser.run('document.documentElement.scrollWidth') <= width
  assert (
    open_browser.run(
      """Math.max(...[...document.querySelectorAll('.main-svg')]
      .map(svg => svg.getBoundingClientRect().right))"""
    )
    <= width
  )
  colours = [open_browser.run(COLOUR)]
  open_browser.set_dark(not dark)
  colours.append(open_browser.run(COLOUR))
  assert (
    colours == ['rgb(20, 23, 29)', 'rgb(255, 255, 255)'][:: 1 if dark else -1]
  )
  assert open_browser.errors == []
  assert open_browser.run('document.getElementById("failed").hidden')
  loaded = [url for url in open_browser.requests if url[:5] != 'data:']
  assert loaded == [out.as_uri()]


@pytest.mark.slow
def test_controls_in_a_browser(comparison, open_browser):
  out = comparison[0] / 'report.html'
  out.write_text(make_page(comparison[0]))
  open_browser.open(out.as_uri(), 1400, False)
  shown = '[...document.querySelectorAll("img")].filter(i => !i.hidden)[0].alt'
  assert open_browser.run(shown) == 'Step 3'
  open_browser.run(
    """(() => {
      const input = document.querySelector('[type=range]');
      input.value = 0;
      input.dispatchEvent(new Event('input'));
    })()"""
  )
  assert open_browser.run(shown) == 'Step 1'
  assert open_browser.run('document.querySelector("output").value') == 'Step 1'

  write_table(comparison[2] / 'train', ['disc_loss'], value=lambda *_: 0.1)
  out.write_text(make_page(*comparison))
  open_browser.open(out.as_uri(), 1400, False)
  wait_for(open_browser, DRAWN)
  open_browser.run('document.querySelector("[value=seconds]").click()')
  title = 'document.querySelector(".plot").layout.xaxis.title.text'
  wait_for(open_browser, f'{title} === "seconds"')
  column = """[...document.querySelectorAll('.sortable tbody tr')]
    .map(row => row.cells[{}].textContent)"""
  button = """[...document.querySelectorAll('.sortable button')]
    .find(b => b.textContent === '{}').click()"""
  open_browser.run(button.format('disc_loss, final'))
  assert open_browser.run(column.format(0))[0] == 'c'
  open_browser.run(button.format('disc_loss, final'))
  assert open_browser.run(column.format(0))[2] == 'c'
  # Runs without a value come last, whichever way.
  for _ in range(2):
    open_browser.run(button.format('gen_loss, final'))
    assert open_browser.run(column.format(0))[2] == 'c'


@pytest.mark.slow
def test_hostile_files_in_a_browser(tmp_path, open_browser):
  folder = make_run(tmp_path / EVIL.replace('/', '_'), dataset=EVIL)
  name = '"' + EVIL.replace('"', '""') + '_loss"'
  write_table(folder / 'train', [name, 'disc_loss'])
  out = tmp_path / 'report.html'
  out.write_text(make_page(folder))
  del open_browser.errors[:], open_browser.requests[:]
  open_browser.open(out.as_uri(), 1400, False)
  wait_for(open_browser, DRAWN)
  assert open_browser.errors == []
  legend = 'document.querySelector(".legendtext").textContent'
  assert open_browser.run(legend) == EVIL + '_loss'
  # The policy stops what would come past the escaping.
  open_browser.run(
    """document.body.insertAdjacentHTML(
      'beforeend', '<img src="data:," onerror="window.attacked = true">')"""
  )
  wait_for(open_browser, 'document.images[document.images.length - 1].complete')
  assert open_browser.run('window.attacked') is None
  assert any('Content Security Policy' in e for e in open_browser.errors)
