'use strict';
(() => {
  addEventListener('error', event => {
    const line = document.getElementById('failed');
    line.hidden = false;
    line.textContent = 'A plot or table failed: ' + event.message;
  });

  // Plots.

  const figures = JSON.parse(document.getElementById('figures').textContent);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const mouse = matchMedia('(hover: hover)');
  let against = null;

  function template() {
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(name).trim();
    const axis = {
      automargin: true, gridcolor: colour('--line'),
      linecolor: colour('--axis'), zerolinecolor: colour('--axis'),
      zerolinewidth: 1, exponentformat: 'power', nticks: 7
    };
    return {layout: {
      paper_bgcolor: 'rgba(0, 0, 0, 0)', plot_bgcolor: 'rgba(0, 0, 0, 0)',
      font: {color: colour('--text'), family: 'system-ui, sans-serif'},
      hoverlabel: {
        bgcolor: colour('--tile'), bordercolor: colour('--line'),
        font: {color: colour('--text')}, namelength: -1
      },
      margin: {l: 10, r: 10, t: 10, b: 10},
      legend: {
        orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0, maxheight: 0.3
      },
      dragmode: mouse.matches ? 'zoom' : false,
      modebar: {
        bgcolor: 'rgba(0, 0, 0, 0)', color: colour('--axis'),
        activecolor: colour('--accent')
      },
      xaxis: axis, yaxis: axis
    }};
  }

  function draw(element) {
    const figure = figures[element.dataset.figure];
    const layout = Object.assign({}, figure.layout, {template: template()});
    let data = figure.data;
    if (figure.x[against]) {
      data = data.map(
        (trace, k) => Object.assign({}, trace, {x: figure.x[against][k]}));
      layout.xaxis = Object.assign(
        {}, layout.xaxis, {title: {text: against}});
    }
    Plotly.react(element, data, layout, {
      responsive: true, displaylogo: false,
      displayModeBar: mouse.matches ? 'hover' : false,
      modeBarButtonsToRemove: [
        'select2d', 'lasso2d', 'zoomIn2d', 'zoomOut2d', 'autoScale2d']
    });
  }

  // Those in folded parts have no size yet.
  const isShown = element => !element.closest('details:not([open])');
  function drawAll() {
    for (const element of document.querySelectorAll('.plot')) {
      if (isShown(element)) draw(element);
    }
  }

  for (const details of document.querySelectorAll('details')) {
    details.addEventListener('toggle', drawAll);
  }
  for (const choice of document.querySelectorAll('[name=against]')) {
    choice.addEventListener('change', () => {
      against = choice.value;
      drawAll();
    });
  }
  dark.addEventListener('change', drawAll);
  drawAll();

  // Sliders through pictures.

  for (const slider of document.querySelectorAll('.slider')) {
    const pictures = slider.querySelectorAll('img');
    const input = slider.querySelector('input');
    const label = slider.querySelector('output');
    if (!input) continue;  // Of one picture.
    input.addEventListener('input', () => {
      pictures.forEach((p, k) => { p.hidden = k !== Number(input.value); });
      label.textContent = pictures[input.value].alt;
    });
  }

  // Sortable tables.

  function compare(a, b) {
    const x = a === '' ? NaN : Number(a), y = b === '' ? NaN : Number(b);
    if (isNaN(x) && isNaN(y)) return a.localeCompare(b);
    return isNaN(x) ? 1 : isNaN(y) ? -1 : x - y;
  }

  for (const button of document.querySelectorAll('th button')) {
    button.addEventListener('click', () => {
      const header = button.closest('th');
      const column = header.cellIndex;
      const sign = header.ariaSort === 'ascending' ? -1 : 1;
      for (const other of header.parentNode.cells) other.ariaSort = null;
      header.ariaSort = sign > 0 ? 'ascending' : 'descending';
      const body = button.closest('table').tBodies[0];
      const value = row => row.cells[column].dataset.value;
      const hasNone = row => value(row) === '';
      // Rows without a value stay last.
      [...body.rows]
        .sort((a, b) => hasNone(a) - hasNone(b) ||
          sign * compare(value(a), value(b)))
        .forEach(row => body.append(row));
    });
  }
})();
