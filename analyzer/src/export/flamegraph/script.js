'use strict';
// Zoom, search and what a box says. A click zooms, Ctrl-F or / searches, Escape undoes.
(() => {
  const svg = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const [margin, character] = [10, 7.3];
  const width = svg.viewBox.baseVal.width - 2 * margin;
  const says = byId('says');
  const frames = [...byId('frames').children].map((element) => ({
    element, name: element.dataset.n, x: Number(element.dataset.x), w: Number(element.dataset.w),
    title: element.firstChild.textContent,
    rect: element.querySelector('rect'), text: element.querySelector('text'),
  }));
  frames.forEach((frame) => {
    frame.y = Number(frame.rect.getAttribute('y'));
    frame.element.setAttribute('tabindex', -1);
  });
  const root = frames[0];
  let zoom = root;
  let ignoreCase = true;
  let pattern = null;

  function label(frame, room) {
    const fits = Math.floor((room - 6) / character);
    frame.text.textContent = frame.name.length <= fits ? frame.name : fits < 3 ? '' : `${frame.name.slice(0, fits - 2)}..`;
  }

  function draw() {
    const scale = width / zoom.w;
    for (const frame of frames) {
      const isParent = frame.y > zoom.y && frame.x <= zoom.x && frame.x + frame.w >= zoom.x + zoom.w;
      const isInside = frame.y <= zoom.y && frame.x >= zoom.x && frame.x + frame.w <= zoom.x + zoom.w;
      frame.element.style.display = isParent || isInside ? '' : 'none';
      if (!isParent && !isInside) continue;
      frame.element.classList.toggle('parent', isParent);
      const x = margin + (isParent ? 0 : (frame.x - zoom.x) * scale);
      const w = isParent ? width : frame.w * scale;
      frame.rect.setAttribute('x', x);
      frame.rect.setAttribute('width', w);
      frame.text.setAttribute('x', x + 3);
      label(frame, w);
    }
    byId('reset').setAttribute('visibility', zoom === root ? 'hidden' : 'visible');
    remember();
  }

  function zoomTo(frame) {
    zoom = frame;
    draw();
  }

  // What was searched and zoomed is in the address, so that it can be passed on.
  function remember() {
    const parts = new URLSearchParams();
    if (zoom !== root) parts.set('x', `${zoom.x},${zoom.w},${zoom.y}`);
    if (pattern) parts.set('s', pattern);
    if (pattern && !ignoreCase) parts.set('case', '1');
    try {
      history.replaceState(null, '', `#${parts}`);
    } catch { /* a picture inside another page has no address of its own */ }
  }

  function search(words) {
    pattern = words || null;
    let test = () => false;
    if (pattern) {
      try {
        const expression = new RegExp(pattern, ignoreCase ? 'i' : '');
        test = (name) => expression.test(name);
      } catch {
        const plain = (text) => (ignoreCase ? text.toLowerCase() : text);
        test = (name) => plain(name).includes(plain(pattern));
      }
    }
    // A box above a match is part of it already: widths of the lowest matches are added.
    const hits = [];
    for (const frame of frames) {
      const isHit = test(frame.name);
      frame.element.classList.toggle('hit', isHit);
      if (isHit) hits.push(frame);
    }
    hits.sort((a, b) => a.x - b.x || b.w - a.w || b.y - a.y);
    let [sum, end] = [0, -1];
    for (const hit of hits) {
      if (hit.x < end) continue;
      sum += hit.w;
      end = hit.x + hit.w;
    }
    byId('matched').textContent = pattern ? `Matched: ${((sum / root.w) * 100).toFixed(2)}%` : ' ';
    byId('search').textContent = pattern ? 'Reset search' : 'Search';
    remember();
  }

  function ask() {
    const words = prompt('Functions to look for, a regular expression:', pattern ?? '');
    if (words != null) search(words);
  }

  function press(id, act) {
    byId(id).addEventListener('click', act);
    byId(id).addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === ' ') act();
    });
  }
  press('reset', () => zoomTo(root));
  press('search', () => (pattern ? search(null) : ask()));
  press('case', () => {
    ignoreCase = !ignoreCase;
    byId('case').classList.toggle('on', !ignoreCase);
    search(pattern);
  });

  const under = (event) => {
    const element = event.target.closest('#frames > g');
    return element && frames.find((frame) => frame.element === element);
  };
  const box = byId('frames');
  box.addEventListener('click', (event) => {
    const frame = under(event);
    if (frame) zoomTo(frame);
  });
  box.addEventListener('mouseover', (event) => {
    says.textContent = under(event)?.title ?? ' ';
  });
  box.addEventListener('mouseleave', () => { says.textContent = ' '; });
  box.addEventListener('focusin', (event) => {
    says.textContent = under(event)?.title ?? ' ';
  });

  // The keyboard: up to callees, down to callers, left and right among neighbours.
  root.element.setAttribute('tabindex', 0);
  const row = 18;
  const step = {
    ArrowUp: (at) => frames.find((one) => one.y === at.y - row && one.x >= at.x && one.x + one.w <= at.x + at.w),
    ArrowDown: (at) => frames.find((one) => one.y === at.y + row && one.x <= at.x && one.x + one.w >= at.x + at.w),
    ArrowLeft: (at) => frames.filter((one) => one.y === at.y && one.x < at.x).sort((a, b) => b.x - a.x)[0],
    ArrowRight: (at) => frames.filter((one) => one.y === at.y && one.x > at.x).sort((a, b) => a.x - b.x)[0],
  };
  box.addEventListener('keydown', (event) => {
    const at = under(event);
    if (!at) return;
    if (event.key === 'Enter') zoomTo(at);
    const next = step[event.key]?.(at);
    if (!next) return;
    event.preventDefault();
    next.element.setAttribute('tabindex', 0);
    next.element.focus();
  });
  addEventListener('keydown', (event) => {
    if ((event.ctrlKey && event.key === 'f') || (event.key === '/' && !event.ctrlKey)) {
      event.preventDefault();
      ask();
    } else if (event.key === 'Escape') {
      if (pattern) search(null);
      else zoomTo(root);
    }
  });

  const kept = new URLSearchParams(location.hash.slice(1));
  if (kept.get('case')) {
    ignoreCase = false;
    byId('case').classList.add('on');
  }
  const at = kept.get('x')?.split(',').map(Number);
  const words = kept.get('s');
  const found = at && frames.find((frame) => frame.x === at[0] && frame.w === at[1] && frame.y === at[2]);
  if (found) zoomTo(found);
  if (words) search(words);
  svg.dataset.ready = '1';
})();
