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
"""A Chromium without a window, led by its DevTools protocol over two pipes."""

import base64
import json
import os
import select
import shutil
import subprocess
import time


def find() -> str | None:
  """The path of a Chromium, or None."""
  names = ('chromium', 'chromium-browser', 'google-chrome')
  found = filter(None, map(shutil.which, names))
  return next(found, None)


class Browser:
  """One page in a browser of its own.

  Attributes:
    errors: what scripts threw, and what the browser complained of.
    requests: the addresses of all that was asked for.
  """

  def __init__(self, folder: str, timeout: float = 120):
    self._timeout = timeout
    self._buffer = b''
    self._last_id = 0
    self._session = {}
    self.errors: list[str] = []
    self.requests: list[str] = []
    theirs_in, self._ours_out = os.pipe()
    self._ours_in, theirs_out = os.pipe()
    # The protocol is spoken on descriptors 3 and 4.
    self._process = subprocess.Popen(
      [
        *('bash', '-c', f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', 'bash'),
        *(find(), '--headless', '--no-sandbox', '--disable-gpu'),
        *('--disable-dev-shm-usage', '--remote-debugging-pipe'),
        *(f'--user-data-dir={folder}', 'about:blank'),
      ],
      pass_fds=(theirs_in, theirs_out),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    target = self.call('Target.createTarget', url='about:blank')['targetId']
    attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
    self._session = {'sessionId': attached['sessionId']}
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      self.call(f'{domain}.enable')
    # They take their width from the page, but not from its picture.
    self.call('Emulation.setScrollbarsHidden', hidden=True)

  def close(self) -> None:
    self._process.kill()
    self._process.wait()
    os.close(self._ours_in)
    os.close(self._ours_out)

  def call(self, method: str, **parameters) -> dict:
    """Calls a method of the protocol and returns its result."""
    self._last_id += 1
    message = {'id': self._last_id, 'method': method, 'params': parameters}
    os.write(
      self._ours_out, json.dumps(message | self._session).encode() + b'\0'
    )
    deadline = time.monotonic() + self._timeout
    while True:
      answer = self._receive(deadline)
      if answer.get('id') == self._last_id:
        assert 'error' not in answer, answer
        return answer['result']

  def _receive(self, deadline: float) -> dict:
    while b'\0' not in self._buffer:
      left = deadline - time.monotonic()
      assert left > 0, 'the browser does not answer'
      if select.select([self._ours_in], [], [], left)[0]:
        read = os.read(self._ours_in, 1 << 20)
        assert read, 'the browser has ended'
        self._buffer += read
    line, self._buffer = self._buffer.split(b'\0', 1)
    message = json.loads(line)
    parameters = message.get('params', {})
    if message.get('method') == 'Runtime.exceptionThrown':
      self.errors.append(str(parameters['exceptionDetails']))
    elif message.get('method') == 'Log.entryAdded':
      self.errors.append(str(parameters['entry']))
    elif message.get('method') == 'Network.requestWillBeSent':
      self.requests.append(parameters['request']['url'])
    return message

  def open(self, url: str, width: int, dark: bool) -> None:
    """Opens a page in a window so wide, and waits until it is there."""
    self.call(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=900,
      deviceScaleFactor=1,
      mobile=False,
    )
    self.set_dark(dark)
    self.call('Page.navigate', url=url)
    deadline = time.monotonic() + self._timeout
    while self.run('document.readyState') != 'complete':
      assert time.monotonic() < deadline, 'the page does not load'
      time.sleep(0.05)

  def set_dark(self, dark: bool) -> None:
    """Says which scheme of colours the user prefers."""
    value = 'dark' if dark else 'light'
    self.call(
      'Emulation.setEmulatedMedia',
      features=[{'name': 'prefers-color-scheme', 'value': value}],
    )

  def run(self, script: str):
    """Runs a JavaScript expression in the page and returns its value."""
    result = self.call(
      'Runtime.evaluate', expression=script, returnByValue=True
    )
    assert 'exceptionDetails' not in result, result
    return result['result'].get('value')

  def take_picture(self, path: str) -> None:
    """Writes a PNG of the whole page."""
    result = self.call(
      'Page.captureScreenshot', format='png', captureBeyondViewport=True
    )
    with open(path, 'wb') as f:
      f.write(base64.b64decode(result['data']))
