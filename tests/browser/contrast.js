// Returns [text, ratio] of visible text below WCAG 2.2 AA (4.5 : 1; 3 : 1 from 24 px, or 18.66 px bold).
() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3])).concat(1);
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const up = (each) => each.assignedSlot || each.parentElement || (each.getRootNode() || {}).host || null;
  const ground = (each) => {
    const layers = [];
    for (let at = each; at; at = up(at)) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reduceRight((under, top) => over(top, under), [13, 16, 20, 1]);
  };
  const found = [];
  const walk = (root) => {
    for (const each of root.querySelectorAll("*")) {
      if (each.shadowRoot) walk(each.shadowRoot);
      const own = [...each.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent.trim());
      const text = own.join(" ").trim(), style = getComputedStyle(each);
      if (!text || ["STYLE", "SCRIPT", "OPTION"].includes(each.tagName)) continue;
      if (!each.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
      const box = each.getBoundingClientRect();
      if (box.width < 2 || box.height < 2) continue;
      const under = ground(each), ink = over(rgba(style.color), under);
      const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
      const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      const ratio = (a + 0.05) / (b + 0.05);
      if (ratio < (large ? 3 : 4.5)) found.push([text.slice(0, 60), Math.round(ratio * 100) / 100]);
    }
  };
  walk(document);
  return found;
}
