// The flame graph: outermost frames on top, width by value, colour by module. Click or Enter zooms.

const flame = { measure: 'live', reverse: false, threads: false, plumbing: true, pattern: null, root: null, zoom: null, focus: null };

// Modules by what they hold: the first ones have a colour of their own.
function moduleTones() {
  const held = new Map();
  for (let site = 0; site < SITE_COUNT; site++) {
    const seen = new Set(frameIndices(site).map((index) => labels[labelOf(index)].module));
    for (const module of seen) held.set(module, (held.get(module) ?? 0) + (field('peak_live_bytes', site) ?? 0));
  }
  const order = [...held.entries()].sort((a, b) => b[1] - a[1]).map(([module]) => module);
  return new Map(order.slice(0, 8).map((module, at) => [module, at]));
}

function flameSection() {
  const tones = moduleTones();
  const box = h('div', { class: 'flame', role: 'tree', 'aria-label': 'Flame graph of call stacks' });
  const says = h('p', { class: 'flame-says', id: 'flame-says', 'aria-live': 'polite' });
  const found = h('output', { id: 'flame-found' });
  const search = h('input', { type: 'search', id: 'flame-search', placeholder: 'function or module', 'aria-describedby': 'flame-found' });
  const reset = h('button', { type: 'button', id: 'flame-reset', on: { click: () => zoomTo(flame.root) } }, 'Reset zoom');
  const toggle = (label, name, invert) => h('button', {
    type: 'button', 'aria-pressed': 'false',
    on: {
      click(event) {
        flame[name] = !flame[name];
        event.currentTarget.setAttribute('aria-pressed', String(invert ? !flame[name] : flame[name]));
        rebuild();
      },
    },
  }, label);

  const measure = () => MEASURES[flame.measure];
  const describe = (at) => {
    const own = at.own > 0 && at.children.size > 0 ? `, ${measure().format(at.own)} of it ends here` : '';
    const where = at.label < 0 || labels[at.label].frame == null ? '' : ` · ${place(frame(labels[at.label].frame))}`;
    return `${treeName(at)}${where} · ${measure().format(at.value)} (${percent(at.value, flame.root.value)} of all${own})`;
  };
  const say = (at) => {
    const note = [measure().note, measure().fixed ? 'of the whole recording' : range ? rangeWords() : null].filter(Boolean).join('; ');
    says.textContent = at ? describe(at)
      : flame.root.value > 0 ? `${measure().label}: ${measure().format(flame.root.value)} at all listed sites${note ? ` (${note})` : ''}. Click a box to zoom in.`
        : `${measure().label}: nothing${note ? ` (${note})` : ''}.`;
  };

  const rowHeight = 21;
  let drawnWidth = 0;
  function draw() {
    const { zoom, root } = flame;
    const total = zoom.value;
    drawnWidth = box.clientWidth;
    const width = drawnWidth || 1100;
    const boxes = [];
    let deepest = 0;
    const put = (at, left, share, isAncestor) => {
      const depth = at.depth;
      deepest = Math.max(deepest, depth);
      const label = at.label < 0 ? null : labels[at.label];
      const tone = label ? tones.get(label.module) ?? 'rest' : 'root';
      const hit = label && flame.pattern && flame.pattern(at.label);
      const element = h('div', {
        class: `box m-${tone}${label?.plumbing ? ' plumbing' : ''}${isAncestor ? ' ancestor' : ''}${hit ? ' hit' : flame.pattern ? ' miss' : ''}`,
        role: 'treeitem', tabindex: at === flame.focus ? 0 : -1, 'aria-level': depth + 1,
        'aria-expanded': at.children.size > 0 ? 'true' : null, 'aria-label': describe(at),
        style: { left: `${left * 100}%`, width: `${share * 100}%`, top: `${depth * rowHeight}px` },
      }, share * width > 28 ? (label?.frame === null ? label.name : shortFunction(treeName(at))) : '');
      element.node = at;
      at.element = element;
      boxes.push(element);
    };
    const ancestors = [];
    for (let at = zoom.parent; at; at = at.parent) ancestors.push(at);
    for (const at of ancestors) put(at, 0, 1, true);
    const open = [[zoom, 0, 1]];
    while (open.length > 0 && boxes.length < 6000) {
      const [at, left, share] = open.pop();
      put(at, left, share, false);
      let x = left;
      for (const child of sortedChildren(at)) {
        const part = total > 0 ? child.value / total : 0;
        if (part * width >= 1.2) open.push([child, x, part]);
        x += part;
      }
    }
    box.style.setProperty('height', `${(deepest + 1) * rowHeight}px`);
    box.replaceChildren(...boxes);
    reset.disabled = zoom === root;
    if (flame.pattern) {
      const { boxes: hits, value } = searchTree(root, flame.pattern);
      found.textContent = `${plural(hits, 'frame')} · ${measure().format(value)} · ${percent(value, root.value)}`;
    } else {
      found.textContent = '';
    }
  }

  function zoomTo(at) {
    const hadFocus = box.contains(document.activeElement);
    flame.zoom = at;
    flame.focus = at;
    draw();
    say(at === flame.root ? null : at);
    if (hadFocus) at.element?.focus();
  }

  // The same path in a tree that was built anew.
  function samePath(before) {
    const path = [];
    for (let at = before; at && at.label >= 0; at = at.parent) path.unshift(at.label);
    let at = flame.root;
    for (const label of path) {
      const next = at.children.get(label);
      if (!next) return flame.root;
      at = next;
    }
    return at;
  }

  function rebuild() {
    const before = flame.zoom;
    flame.root = buildTree(flame.measure, flame);
    flame.zoom = samePath(before);
    flame.focus = flame.zoom;
    draw();
    say(null);
  }

  box.addEventListener('click', (event) => {
    const at = event.target.closest('.box')?.node;
    if (at) zoomTo(at);
  });
  box.addEventListener('pointerover', (event) => {
    const at = event.target.closest('.box')?.node;
    if (at) say(at);
  });
  box.addEventListener('pointerleave', () => say(null));
  box.addEventListener('focusin', (event) => {
    const at = event.target.closest('.box')?.node;
    if (at) say(at);
  });
  const move = (to) => {
    if (!to?.element?.isConnected) return;
    flame.focus?.element?.setAttribute('tabindex', -1);
    flame.focus = to;
    to.element.setAttribute('tabindex', 0);
    to.element.focus();
  };
  box.addEventListener('keydown', (event) => {
    const at = event.target.closest('.box')?.node;
    if (!at) return;
    const siblings = at.parent ? sortedChildren(at.parent) : [at];
    const here = siblings.indexOf(at);
    const keys = {
      ArrowUp: () => move(at.parent), ArrowDown: () => move(sortedChildren(at)[0]),
      ArrowLeft: () => move(siblings[here - 1]), ArrowRight: () => move(siblings[here + 1]),
      Home: () => move(flame.root), Enter: () => zoomTo(at), ' ': () => zoomTo(at),
      Escape: () => zoomTo(flame.root), Backspace: () => flame.zoom.parent && zoomTo(flame.zoom.parent),
    };
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  search.addEventListener('input', () => {
    const words = search.value.trim().toLowerCase();
    const matched = new Map();
    flame.pattern = words === '' ? null : (label) => {
      if (!matched.has(label)) {
        const { name, module } = labels[label];
        matched.set(label, name.toLowerCase().includes(words) || fileName(module).toLowerCase().includes(words));
      }
      return matched.get(label);
    };
    draw();
  });
  onRange(rebuild);
  new ResizeObserver(() => flame.root && box.clientWidth !== drawnWidth && draw()).observe(box);

  const options = Object.entries(MEASURES).map(([name, { label }]) => [name, label, whyNot(name)]);
  const reasons = options.filter(([, , reason]) => reason).map(([, label, reason]) => `${label}: ${reason}`);
  const legend = h('ul', { class: 'legend' }, [...tones].map(([module, tone]) =>
    h('li', null, h('span', { class: `swatch m-${tone}`, 'aria-hidden': 'true' }), module == null ? '[jit]' : fileName(module))),
  h('li', null, h('span', { class: 'swatch m-rest', 'aria-hidden': 'true' }), 'others'));
  const element = section('flame', 'Flame graph',
    h('div', { class: 'controls' },
      choice('What width means', options, flame.measure, (name) => { flame.measure = name; rebuild(); })),
    h('div', { class: 'controls' },
      h('label', null, 'Search ', search), found,
      toggle('Reverse', 'reverse', false), toggle('By thread', 'threads', false), toggle('Hide library frames', 'plumbing', true), reset),
    says, h('div', { class: 'flame-scroll' }, box), legend,
    reasons.length > 0 && h('p', { class: 'missing' }, `Not in this recording: ${reasons.join('; ')}.`));
  element.start = rebuild;
  return element;
}
