// The film viewer. Pixels, heatmaps and texts come as data; nothing is requested from anywhere,
// and no text of the data ever becomes markup (textContent only).

const views = new WeakMap();
const ZOOM_MAX = 12;

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".viewer");
  let view = views.get(root);
  if (!view || view.id !== data.id) {
    view = { ...fresh(data), id: data.id };
    views.set(root, view);
  }
  const part = (name) => root.querySelector(`[name="${name}"]`);
  const canvas = root.querySelector("canvas");
  const stop = new AbortController();
  const on = (target, event, act, options = {}) =>
    target.addEventListener(event, act, { ...options, signal: stop.signal });

  fill(part("finding"), data.findings, view.finding);
  canvas.setAttribute("aria-label", data.label);
  root.querySelectorAll(".heat, .pick").forEach((each) => { each.hidden = !data.findings.length; });

  let queued = false;
  const redraw = () => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => { queued = false; draw(root, canvas, view, data); });
  };
  const change = (changes) => { Object.assign(view, changes); sync(part, view); redraw(); };
  const reset = () => change({ ...start(data), finding: view.finding });
  const step = (by) => {
    if (data.findings.length) change({ finding: wrap(view.finding + by, data.findings.length) });
  };

  on(part("finding"), "change", (event) => change({ finding: Number(event.target.value) }));
  on(part("opacity"), "input", (event) => change({ opacity: Number(event.target.value) / 100 }));
  on(part("contour"), "change", (event) => change({ contour: event.target.checked }));
  on(part("width"), "input", (event) => change({ width: Number(event.target.value) / 100 }));
  on(part("level"), "input", (event) => change({ level: Number(event.target.value) / 100 }));
  on(part("invert"), "change", (event) => change({ invert: event.target.checked }));
  on(part("in"), "click", () => change(zoomed(view, 1.3, 0, 0)));
  on(part("out"), "click", () => change(zoomed(view, 1 / 1.3, 0, 0)));
  on(part("reset"), "click", reset);
  on(canvas, "dblclick", reset);
  on(canvas, "contextmenu", (event) => event.preventDefault());
  on(canvas, "wheel", (event) => {
    event.preventDefault();
    change(zoomed(view, Math.exp(-event.deltaY * 0.0015), ...fromCentre(canvas, event)));
  }, { passive: false });
  on(canvas, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      ArrowLeft: () => change({ x: view.x + 40 }), ArrowRight: () => change({ x: view.x - 40 }),
      ArrowUp: () => change({ y: view.y + 40 }), ArrowDown: () => change({ y: view.y - 40 }),
      "+": () => change(zoomed(view, 1.3, 0, 0)), "=": () => change(zoomed(view, 1.3, 0, 0)),
      "-": () => change(zoomed(view, 1 / 1.3, 0, 0)), 0: reset,
      i: () => change({ invert: !view.invert }), c: () => change({ contour: !view.contour }),
      h: () => change(view.opacity > 0 ? { opacity: 0, kept: view.opacity } : { opacity: view.kept || 0.5 }),
      "[": () => step(-1), "]": () => step(1),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) { event.preventDefault(); event.stopPropagation(); act(); }
  });
  pointers(canvas, view, change, on);

  const resized = new ResizeObserver(redraw);
  resized.observe(canvas);
  sync(part, view);
  root.querySelector(".stage").style.setProperty("--aspect", String(data.aspect));
  load(view, data).then(redraw);
  return () => { stop.abort(); resized.disconnect(); };
}

function start(data) {
  return { zoom: 1, x: 0, y: 0, width: 1, level: 0.5, invert: false, contour: false, opacity: data.opacity, kept: 0 };
}

function fresh(data) {
  return { ...start(data), finding: data.start, film: null, heat: null };
}

const wrap = (index, count) => (index + count) % count;

function fill(select, findings, chosen) {
  select.replaceChildren(...findings.map((finding, index) => {
    const option = document.createElement("option");
    option.value = String(index);
    option.textContent = finding.title;
    return option;
  }));
  if (findings.length) select.value = String(chosen);
}

function sync(part, view) {
  part("opacity").value = String(Math.round(view.opacity * 100));
  part("width").value = String(Math.round(view.width * 100));
  part("level").value = String(Math.round(view.level * 100));
  part("contour").checked = view.contour;
  part("invert").checked = view.invert;
  if (part("finding").options.length) part("finding").value = String(view.finding);
  part("zoom").value = `${Math.round(view.zoom * 100)} %`;
  part("zoom").hidden = view.zoom === 1;
}

function zoomed(view, factor, px, py) {
  const zoom = Math.min(ZOOM_MAX, Math.max(1, view.zoom * factor));
  const ratio = zoom / view.zoom;
  // The point of the film beneath the pointer stays there.
  return zoom === 1 ? { zoom, x: 0, y: 0 } : { zoom, x: px + (view.x - px) * ratio, y: py + (view.y - py) * ratio };
}

function fromCentre(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
}

function pointers(canvas, view, change, on) {
  const down = new Map();
  on(canvas, "pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY, right: event.button === 2 || event.shiftKey });
  });
  on(canvas, "pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.x, dy = event.clientY - before.y;
    if (down.size === 2) {
      const other = [...down.entries()].find(([id]) => id !== event.pointerId)[1];
      const distance = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
      const now = { x: event.clientX, y: event.clientY };
      change(zoomed(view, distance(now) / distance(before), ...fromCentre(canvas, event)));
    } else if (before.right) {
      change({
        width: Math.min(1.5, Math.max(0.05, view.width + dx / 400)),
        level: Math.min(1, Math.max(0, view.level + dy / 400)),
      });
    } else {
      change({ x: view.x + dx, y: view.y + dy });
    }
    before.x = event.clientX;
    before.y = event.clientY;
  });
  for (const event of ["pointerup", "pointercancel"]) on(canvas, event, (each) => down.delete(each.pointerId));
}

async function load(view, data) {
  if (view.film) return;
  const [film, heat] = await Promise.all([picture(data.film), data.heat ? picture(data.heat) : null]);
  Object.assign(view, { film, heat, shown: offscreen(film.width, film.height), cache: "" });
}

function offscreen(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

async function picture(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = offscreen(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const grey = new Uint8Array(pixels.length / 4);
  for (let i = 0; i < grey.length; i += 1) grey[i] = pixels[4 * i];
  return { width: canvas.width, height: canvas.height, grey };
}

function windowed(view) {
  const key = `${view.width} ${view.level} ${view.invert}`;
  if (view.cache === key) return view.shown;
  const table = new Uint32Array(256);
  for (let value = 0; value < 256; value += 1) {
    const share = Math.min(1, Math.max(0, (value / 255 - view.level) / view.width + 0.5));
    const level = Math.round(255 * (view.invert ? 1 - share : share));
    table[value] = 0xff000000 | (level << 16) | (level << 8) | level;
  }
  const { grey, width, height } = view.film;
  const out = new Uint32Array(grey.length);
  for (let i = 0; i < grey.length; i += 1) out[i] = table[grey[i]];
  const image = new ImageData(new Uint8ClampedArray(out.buffer), width, height);
  view.shown.getContext("2d").putImageData(image, 0, 0);
  view.cache = key;
  return view.shown;
}

function coloured(view, tile, data) {
  view.tiles = view.tiles || new Map();
  if (view.tiles.has(tile)) return view.tiles.get(tile);
  const side = data.tile_px, canvas = offscreen(side, side);
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i += 1) {
    const from = 4 * view.heat.grey[tile * side * side + i];
    for (let k = 0; k < 4; k += 1) image.data[4 * i + k] = data.palette[from + k];
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  view.tiles.set(tile, canvas);
  return canvas;
}

function draw(root, canvas, view, data) {
  const box = canvas.getBoundingClientRect();
  if (!view.film || !box.width) return;
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * dense);
  canvas.height = Math.round(box.height * dense);
  const context = canvas.getContext("2d");
  context.scale(dense, dense);
  const fit = Math.min(box.width / view.film.width, box.height / view.film.height) * view.zoom;
  const width = view.film.width * fit, height = view.film.height * fit;
  // At least a quarter of the stage keeps showing film, wherever it is dragged.
  view.x = Math.max(-width / 2, Math.min(width / 2, view.x));
  view.y = Math.max(-height / 2, Math.min(height / 2, view.y));
  const left = (box.width - width) / 2 + view.x, top = (box.height - height) / 2 + view.y;
  context.imageSmoothingQuality = "high";
  context.drawImage(windowed(view), left, top, width, height);
  const finding = data.findings[view.finding];
  if (finding && finding.tile !== null && view.contour) outline(context, finding.lines, left, top, width, height);
  else if (finding && finding.tile !== null && view.opacity > 0) {
    context.globalAlpha = view.opacity;
    context.drawImage(coloured(view, finding.tile, data), left, top, width, height);
    context.globalAlpha = 1;
  }
  tell(root, canvas, view, finding, data);
}

function outline(context, lines, left, top, width, height) {
  for (const [stroke, colour] of [[4, "rgba(13,16,20,.8)"], [2, "#f7d13d"]]) {
    context.beginPath();
    for (let i = 0; i < lines.length; i += 4) {
      context.moveTo(left + lines[i] * width, top + lines[i + 1] * height);
      context.lineTo(left + lines[i + 2] * width, top + lines[i + 3] * height);
    }
    context.lineWidth = stroke;
    context.strokeStyle = colour;
    context.stroke();
  }
}

function said(finding, view) {
  const hidden = finding.tile !== null && !view.contour && view.opacity === 0;
  return hidden ? `Heatmap hidden: raise the opacity to see it. ${finding.caption}` : finding.caption;
}

function tell(root, canvas, view, finding, data) {
  const message = root.querySelector(".message");
  const asked = view.contour || view.opacity > 0;
  message.hidden = !finding || finding.tile !== null || !asked;
  message.textContent = finding && finding.tile === null ? `${finding.name}: ${finding.note}` : "";
  root.querySelector(".caption").textContent = finding ? said(finding, view) : data.caption;
  canvas.dataset.finding = finding ? finding.label : "";
  canvas.dataset.zoom = view.zoom.toFixed(2);
  canvas.dataset.ready = "yes";
}
