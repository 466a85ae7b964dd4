'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($('data').textContent);
  const { rows, cols, classes } = data;
  const count = rows * cols;
  const photo = $('photo'), stage = $('stage'), canvas = $('map'), context = canvas.getContext('2d');
  const LAST = data.levels.findIndex((level) => level.number === 3); // The level whose clusters carry evidence.
  const hasEvidence = LAST >= 0 && classes.some((c) => c.contributions.length > 0);
  // Pastel colours that stay apart for the common forms of colour blindness.
  const PALETTE = ['77aadd', 'ee8866', 'eedd88', 'ffaabb', '99ddff', '44bb99', 'bbcc33', 'c3a5e0', 'dddddd']
    .map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const FOR = [214, 84, 38], AGAINST = [42, 110, 187];

  // A selected patch stands for its region on every level; -1 is none.
  const state = { level: 0, grouped: false, style: 'boundary', patch: -1, pinned: false, chosen: 0, heat: false };
  let means = null; // [count * 3], the mean colour of each patch.

  function decode(text) {
    const bytes = atob(text), ids = new Uint16Array(count);
    for (let i = 0; i < count; i++) ids[i] = bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8);
    return ids;
  }

  // The mean colour of every patch, from the photo's own pixels.
  function patchMeans() {
    const k = Math.max(1, Math.min(8, Math.floor(Math.sqrt(2e6 / count))));
    const small = Object.assign(document.createElement('canvas'), { width: cols * k, height: rows * k });
    const pen = small.getContext('2d', { willReadFrequently: true });
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(photo, 0, 0, small.width, small.height);
    const pixels = pen.getImageData(0, 0, small.width, small.height).data;
    const out = new Float32Array(count * 3);
    for (let from = 0; from < pixels.length; from += 4) {
      const y = Math.floor(from / 4 / small.width), x = from / 4 - y * small.width;
      const to = (Math.floor(y / k) * cols + Math.floor(x / k)) * 3;
      for (let c = 0; c < 3; c++) out[to + c] += pixels[from + c] / (k * k);
    }
    return out;
  }

  // Regions of one map of ids: their size, mean colour, the patch nearest their middle, and a colour that no neighbour has.
  function makeView(ids) {
    const regions = new Map();
    let edges = 0;
    for (let i = 0; i < count; i++) {
      let r = regions.get(ids[i]);
      if (!r) regions.set(ids[i], r = { id: ids[i], size: 0, sum: [0, 0, 0], x: 0, y: 0, near: -1, best: Infinity, beside: new Set() });
      r.size++;
      r.x += i % cols;
      r.y += Math.floor(i / cols);
      for (let c = 0; c < 3; c++) r.sum[c] += means[3 * i + c];
      for (const j of [i % cols ? i - 1 : -1, i - cols]) {
        if (j < 0 || ids[j] === ids[i]) continue;
        edges++;
        r.beside.add(ids[j]);
        regions.get(ids[j]).beside.add(ids[i]);
      }
    }
    for (let i = 0; i < count; i++) {
      const r = regions.get(ids[i]);
      const d = (i % cols - r.x / r.size) ** 2 + (Math.floor(i / cols) - r.y / r.size) ** 2;
      if (d < r.best) { r.best = d; r.near = i; }
    }
    const used = PALETTE.map(() => 0);
    for (const r of [...regions.values()].sort((a, b) => b.size - a.size || a.id - b.id)) {
      const taken = new Set([...r.beside].map((id) => regions.get(id).colour));
      const free = used.map((_, c) => c).filter((c) => !taken.has(c)).sort((a, b) => used[a] - used[b] || a - b);
      r.colour = free.length ? free[0] : r.id % PALETTE.length;
      used[r.colour]++;
      r.mean = r.sum.map((v) => Math.round(v / r.size));
    }
    // Where lines are dense they fade, or they would hide the photo.
    return { ids, regions, ink: 0.9 - 0.6 * Math.min(1, edges / count) };
  }
  const views = new Map();
  function view(level = state.level, grouped = state.grouped) {
    const key = `${level}${grouped}`, source = data.levels[level];
    if (!views.has(key)) views.set(key, makeView(decode((grouped && source.groups) || source.clusters)));
    return views.get(key);
  }
  const regionAt = (patch, v) => v.regions.get(v.ids[patch]);
  // Lines between patches whose value differs; with a border also where a patch with a true value ends at the photo's side.
  function outline(value, border) {
    const path = new Path2D(), px = (x) => Math.round(x * canvas.width / cols), py = (y) => Math.round(y * canvas.height / rows);
    const differs = (a, b) => (a < 0 || b < 0 ? border && value(a < 0 ? b : a) : value(a) !== value(b));
    const walk = (lines, length, pair, draw) => {
      for (let line = 0; line <= lines; line++) {
        for (let at = 0, from = -1; at <= length; at++) {
          const edge = at < length && differs(...pair(line, at));
          if (edge && from < 0) from = at;
          if (!edge && from >= 0) draw(line, from, at);
          if (!edge) from = -1;
        }
      }
    };
    walk(rows, cols, (y, x) => [y > 0 ? (y - 1) * cols + x : -1, y < rows ? y * cols + x : -1],
      (y, from, to) => { path.moveTo(px(from), py(y)); path.lineTo(px(to), py(y)); });
    walk(cols, rows, (x, y) => [x > 0 ? y * cols + x - 1 : -1, x < cols ? y * cols + x : -1],
      (x, from, to) => { path.moveTo(px(x), py(from)); path.lineTo(px(x), py(to)); });
    return path;
  }
  function stroke(path, dark, light, alpha) {
    for (const [width, colour] of [[dark, `rgba(0,0,0,${alpha * 0.55})`], [light, `rgba(255,255,255,${alpha})`]]) {
      Object.assign(context, { lineCap: 'square', lineWidth: width * (window.devicePixelRatio || 1), strokeStyle: colour });
      context.stroke(path);
    }
  }
  // One colour [r, g, b, alpha] per patch, stretched over the photo without smoothing.
  const tiny = Object.assign(document.createElement('canvas'), { width: cols, height: rows });
  function paint(colour) {
    const pen = tiny.getContext('2d'), image = pen.createImageData(cols, rows);
    for (let i = 0; i < count; i++) image.data.set(colour(i), 4 * i);
    pen.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(tiny, 0, 0, canvas.width, canvas.height);
  }
  // The largest contribution, of either sign, among the regions that can be seen.
  function evidence() {
    const values = classes[state.chosen].contributions, seen = [...view(LAST, false).regions.keys()];
    return { values, most: Math.max(...seen.map((id) => Math.abs(values[id] || 0))) || 1 };
  }
  function draw() {
    const box = stage.getBoundingClientRect(), size = (x) => Math.max(1, Math.round(x * (window.devicePixelRatio || 1)));
    Object.assign(canvas, { width: size(box.width), height: size(box.height) });
    const v = view(), heat = state.heat && hasEvidence;
    if (heat) {
      const { values, most } = evidence(), last = view(LAST, false).ids, part = (i) => (values[last[i]] || 0) / most;
      paint((i) => [...(part(i) < 0 ? AGAINST : FOR), 15 + 200 * Math.abs(part(i))]);
    } else if (state.style === 'fill') {
      paint((i) => [...PALETTE[regionAt(i, v).colour], 165]);
    } else if (state.style === 'mean') {
      paint((i) => [...regionAt(i, v).mean, 255]);
    }
    if (state.style === 'boundary' || state.style === 'fill') stroke(outline((i) => v.ids[i], false), 2.2, 1, heat ? v.ink / 2 : v.ink);
    if (state.patch >= 0) {
      const inside = (i) => v.ids[i] === v.ids[state.patch];
      paint((i) => (inside(i) ? [0, 0, 0, 0] : [12, 14, 18, heat ? 130 : 165]));
      stroke(outline(inside, true), 4, 2, 1);
    }
    stage.classList.toggle('grey', heat);
  }
  let waiting = 0;
  function redraw() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  }
  const element = (tag, className = '', textContent = '') => Object.assign(document.createElement(tag), { className, textContent });
  const button = (className) => Object.assign(element('button', className), { type: 'button' });
  const percent = (x) => `${(100 * x).toFixed(x >= 0.0995 ? 0 : x >= 0.00095 ? 1 : 2)} %`;
  const signed = (x) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(Math.abs(x) >= 10 ? 1 : Math.abs(x) >= 0.1 ? 2 : 3)}`;
  const plural = (n, word) => `${n} ${word}${n === 1 ? '' : word.endsWith('h') ? 'es' : 's'}`;
  // A region as one step of a chain; a click goes there.
  function link(level, grouped, patch = state.patch) {
    const region = regionAt(patch, view(level, grouped)), row = button('row link');
    const swatch = element('span', 'swatch'), text = element('span', '', `Level ${data.levels[level].number} · ${grouped ? 'group' : 'region'} ${region.id}`);
    swatch.style.backgroundColor = `rgb(${region.mean})`;
    text.append(element('br'), element('small', '', `${percent(region.size / count)} of the photo, ${plural(region.size, 'patch')}`));
    row.append(swatch, text);
    if (state.patch >= 0 && level === state.level && grouped === state.grouped) row.setAttribute('aria-current', 'true');
    row.onclick = () => {
      update({ level, grouped, patch, pinned: true });
      $('region').querySelector('[aria-current]').focus(); // The row that was clicked has been replaced.
    };
    return row;
  }
  function share() {
    const { values, most } = evidence(), id = view(LAST, false).ids[state.patch], value = values[id] || 0, chosen = classes[state.chosen];
    const box = element('div', 'share', 'Contribution to '), bar = element('span', 'signed'), fill = element('i', value < 0 ? 'against' : 'for');
    fill.style.width = `${50 * Math.min(1, Math.abs(value) / most)}%`;
    bar.append(fill);
    const part = chosen.logit > 0 ? ` (${value < 0 ? '−' : ''}${percent(Math.abs(value) / chosen.logit)})` : '';
    box.append(element('bdi', '', chosen.label), ': ', element('b', '', signed(value)), bar,
      element('small', '', `of the logit ${signed(chosen.logit)}${part}, from level-3 region ${id}`));
    return box;
  }
  function showRegion() {
    const parts = [];
    if (state.patch < 0) {
      const largest = [...view().regions.values()].sort((a, b) => b.size - a.size || a.id - b.id).slice(0, 5);
      parts.push(element('p', '', 'None is selected; the largest on this level:'), ...largest.map((r) => link(state.level, state.grouped, r.near)));
    } else {
      data.levels.forEach((_, level) => parts.push(link(level, false)));
      if (data.levels[state.level].groups) parts.push(link(state.level, true));
      if (hasEvidence) parts.push(share());
    }
    $('region').replaceChildren(...parts);
  }
  function showTools() {
    const level = data.levels[state.level], size = view().regions.size;
    $('level').value = state.level;
    $('level-text').textContent = `Level ${level.number}: ${plural(size, state.grouped ? 'group' : 'region')}`;
    $('level').setAttribute('aria-valuetext', $('level-text').textContent);
    $('groups').checked = state.grouped;
    $('groups-tool').hidden = !data.levels.some((l) => l.groups);
    $('groups').disabled = !level.groups;
    document.querySelector(`input[name=style][value=${state.style}]`).checked = true;
    $('heat').checked = state.heat;
    [...$('classes').children].forEach((item, i) => item.firstChild.setAttribute('aria-pressed', i === state.chosen));
    if (($('legend').hidden = !(state.heat && hasEvidence))) return;
    const { values, most } = evidence(), seen = view(LAST, false).regions, chosen = classes[state.chosen];
    const unseen = values.reduce((sum, v, id) => (seen.has(id) ? sum : sum + v), 0);
    $('legend-low').textContent = signed(-most);
    $('legend-high').textContent = signed(most);
    $('legend-text').textContent = `Evidence against and for “${chosen.label}”, by level-3 region: they add up to the logit, ${signed(chosen.logit)}`
      + (Math.abs(unseen) >= 0.0005 ? `, with ${signed(unseen)} of clusters that hold no patch.` : '.');
  }
  function update(change) {
    Object.assign(state, change);
    if (!data.levels[state.level].groups) state.grouped = false;
    showTools();
    showRegion();
    if ('pinned' in change || !('patch' in change)) writeLink(); // Pointing alone changes no link.
    redraw();
  }
  // A link's part after # names the selection: level, groups, region, class, style.
  function writeLink() {
    const link = new URLSearchParams({ level: data.levels[state.level].number });
    if (state.grouped) link.set('groups', 1);
    if (state.style !== 'boundary') link.set('style', state.style);
    if (state.pinned && state.patch >= 0) link.set('region', view().ids[state.patch]);
    if (state.heat) link.set('class', state.chosen);
    try { history.replaceState(null, '', `#${link}`); } catch { /* Some browsers refuse this for files; the page works without. */ }
  }
  function readLink() {
    const link = new URLSearchParams(location.hash.slice(1)), change = {};
    const number = (name) => (/^\d+$/.test(link.get(name) || '') ? Number(link.get(name)) : -1);
    const level = data.levels.findIndex((l) => l.number === number('level'));
    change.level = level >= 0 ? level : data.levels.length - 1;
    change.grouped = number('groups') === 1 && Boolean(data.levels[change.level].groups);
    if (['boundary', 'fill', 'mean', 'photo'].includes(link.get('style'))) change.style = link.get('style');
    const region = view(change.level, change.grouped).regions.get(number('region'));
    const heat = hasEvidence && number('class') >= 0 && number('class') < classes.length;
    update({ ...change, patch: region ? region.near : -1, pinned: Boolean(region), heat, chosen: heat ? number('class') : state.chosen });
  }
  function patchUnder(event) {
    const box = stage.getBoundingClientRect();
    const cell = (at, size, n) => Math.max(0, Math.min(n - 1, Math.floor(at / size * n)));
    return cell(event.clientY - box.top, box.height, rows) * cols + cell(event.clientX - box.left, box.width, cols);
  }
  // On to the next region in a direction; at the photo's side nothing happens.
  function step(dx, dy) {
    if (state.patch < 0) return update({ patch: Math.floor(rows / 2) * cols + Math.floor(cols / 2), pinned: true });
    let x = state.patch % cols, y = Math.floor(state.patch / cols);
    const ids = view().ids;
    while ((x += dx) >= 0 && x < cols && (y += dy) >= 0 && y < rows) {
      if (ids[y * cols + x] !== ids[state.patch]) return update({ patch: y * cols + x, pinned: true });
    }
  }
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function listen() {
    stage.addEventListener('pointermove', (e) => {
      const patch = patchUnder(e);
      if (e.pointerType === 'touch' || state.pinned || (state.patch >= 0 && view().ids[patch] === view().ids[state.patch])) return;
      update({ patch });
    });
    stage.addEventListener('pointerleave', () => { if (!state.pinned && state.patch >= 0) update({ patch: -1 }); });
    stage.addEventListener('click', (e) => {
      const patch = patchUnder(e), same = state.pinned && view().ids[patch] === view().ids[state.patch];
      update(same ? { patch: -1, pinned: false } : { patch, pinned: true });
    });
    document.addEventListener('keydown', (e) => {
      if (e.key === 'Escape') update({ patch: -1, pinned: false });
      if (e.target !== stage || !KEYS[e.key] || e.altKey || e.ctrlKey || e.metaKey) return;
      e.preventDefault();
      step(...KEYS[e.key]);
    });
    $('level').oninput = (e) => update({ level: Number(e.target.value) });
    $('groups').onchange = (e) => update({ grouped: e.target.checked });
    $('heat').onchange = (e) => update({ heat: e.target.checked });
    $('style-tool').onchange = (e) => update({ style: e.target.value });
    window.addEventListener('hashchange', readLink);
    new ResizeObserver(() => redraw()).observe(stage);
  }
  function listClasses() {
    classes.forEach((c, i) => {
      const item = element('li'), row = button('row class'), bar = element('span', 'bar'), fill = element('i');
      fill.style.width = `${100 * c.probability}%`;
      bar.append(fill);
      row.append(element('span', '', c.label), element('b', '', percent(c.probability)), bar);
      // Choosing a class shows its evidence where it lies, on level 3; choosing it again hides it.
      row.addEventListener('click', () => update(!hasEvidence ? { chosen: i } : state.heat && state.chosen === i ? { heat: false } : { chosen: i, heat: true, level: LAST, grouped: false }));
      item.append(row);
      $('classes').append(item);
    });
    $('class-section').hidden = classes.length === 0;
    $('heat-tool').hidden = !hasEvidence;
  }
  function start() {
    means = patchMeans();
    stage.style.setProperty('--ratio', photo.naturalWidth / photo.naturalHeight);
    Object.assign($('level'), { max: data.levels.length - 1, hidden: data.levels.length === 1 });
    listClasses();
    listen();
    $('tools').hidden = $('side').hidden = false;
    readLink();
  }
  photo.decode().then(start);
})();
