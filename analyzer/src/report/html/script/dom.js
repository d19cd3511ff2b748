// Elements. Recorded names enter the page here only, as text.

const SVG = 'http://www.w3.org/2000/svg';

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value == null || value === false) continue;
    if (name === 'on') {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    } else if (name === 'style') {
      for (const [key, setting] of Object.entries(value)) element.style.setProperty(key, setting);
    } else {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child != null && child !== false) element.append(child);
  }
  return element;
}

function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function byId(id) {
  return document.getElementById(id);
}

// A table of a few rows: headings, rows of cells; the first `names` columns are left-aligned text.
function smallTable(caption, headings, rows, names = 1) {
  const head = headings.map((text, at) =>
    h('th', { scope: 'col', class: at < names ? null : 'number' }, text));
  const cell = (content, at) =>
    h(at === 0 ? 'th' : 'td', { scope: at === 0 ? 'row' : null, class: at < names ? null : 'number' }, content);
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', { class: 'small' },
      h('caption', { class: 'hidden' }, caption),
      h('thead', null, h('tr', null, head)),
      h('tbody', null, rows.map((row) => h('tr', null, row.map(cell))))));
}

function section(id, title, ...content) {
  return h('section', { id, 'aria-labelledby': `${id}-title` },
    h('h2', { id: `${id}-title` }, title), content);
}

// A note that something was not measured.
function missing(text) {
  return h('p', { class: 'missing' }, text);
}

// Buttons of which one is pressed; `options` are [value, label, reason why not].
function choice(label, options, chosen, onChoose) {
  const buttons = options.map(([value, text, whyNot]) =>
    h('button', {
      type: 'button', 'data-value': value, 'aria-pressed': String(value === chosen),
      disabled: Boolean(whyNot), title: whyNot,
      on: { click: () => { press(value); onChoose(value); } },
    }, text));
  const press = (value) => buttons.forEach((button) =>
    button.setAttribute('aria-pressed', String(button.dataset.value === value)));
  return h('div', { class: 'choice', role: 'group', 'aria-label': label }, buttons);
}
