"use strict";
async function showMaps() {
  const byId = (id) => document.getElementById("maps-" + id);
  const head = JSON.parse(byId("head").textContent);
  const { rows, columns, channels, panels } = head;
  const POSITIONS = rows * columns;
  const LABEL = 18; // of a cell of the grid, in CSS pixels
  const GAP = 10;
  const PER_DECADE = 900;

  // ---- Values: codes of three decimal digits, see maps/codes.py.

  async function unpack(source) {
    const text = atob(byId(source).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    byId(source).remove();
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const codes = new Int16Array(planes.length / 2);
    for (let i = 0; i < codes.length; i++) codes[i] = planes[i] | (planes[codes.length + i] << 8);
    return codes;
  }

  function magnitudes(lowest) {
    const table = new Float64Array(36 * PER_DECADE + 1);
    for (let code = 1; code < table.length; code++) {
      const step = code - 1;
      table[code] = Number(`${100 + (step % PER_DECADE)}e${lowest - 2 + Math.floor(step / PER_DECADE)}`);
    }
    return table;
  }

  const sources = {};
  for (const source of new Set(panels.map((panel) => panel.source))) {
    const lowest = head[source + "_lowest"];
    sources[source] = { codes: await unpack(source), lowest, table: magnitudes(lowest) };
  }

  function codeAt(panel, index, position) {
    const code = sources[panel.source].codes[index * POSITIONS + position];
    if (panel.part === "positive") return Math.max(code, 0);
    return panel.part === "negative" ? Math.min(code, 0) : code;
  }

  function valueOf(panel, code) {
    const { table } = sources[panel.source];
    return code < 0 ? -table[-code] : table[code];
  }

  function words(panel, code) {
    if (code === 0) return "0 (exactly)";
    const step = Math.abs(code) - 1;
    const digits = String(100 + (step % PER_DECADE));
    const exponent = sources[panel.source].lowest + Math.floor(step / PER_DECADE);
    let text = `${digits[0]}.${digits.slice(1)}e${exponent}`;
    if (exponent >= -3 && exponent <= 2) text = Number(text).toFixed(2 - exponent);
    return (code < 0 ? "\u2212" : "") + text;
  }

  // ---- Colours.

  const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const parsed = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const ZERO = packed(parsed(head.zero));

  for (const panel of panels) {
    const corners = panel.stops.map(parsed);
    panel.palette = Uint32Array.from({ length: 256 }, (_, i) => {
      const along = (i / 255) * (corners.length - 1);
      const left = Math.min(Math.floor(along), corners.length - 2);
      const mixed = corners[left].map((one, c) => Math.round(one + (corners[left + 1][c] - one) * (along - left)));
      return packed(mixed);
    });
    panel.tiles = new Map();
  }

  const limitOf = (panel, index) => (scale.value === "shared" ? panel.shared : panel.limits[index]);
  const lowOf = (panel, limit) => (panel.colours === "positive" ? 0 : -limit);
  const highOf = (panel, limit) => (panel.colours === "negative" ? 0 : limit);

  // One small canvas for each map, made when it is first seen.
  function tile(panel, index) {
    if (panel.tiles.has(index)) return panel.tiles.get(index);
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const limit = limitOf(panel, index);
    const low = lowOf(panel, limit);
    const factor = 255 / (highOf(panel, limit) - low);
    for (let position = 0; position < POSITIONS; position++) {
      const code = codeAt(panel, index, position);
      const shade = Math.round((valueOf(panel, code) - low) * factor);
      pixels[position] = code === 0 ? ZERO : panel.palette[Math.max(0, Math.min(255, shade))];
    }
    context.putImageData(image, 0, 0);
    panel.tiles.set(index, canvas);
    return canvas;
  }

  // ---- The grid: only the maps in view are drawn.

  const box = byId("box");
  const space = byId("space");
  const grid = byId("grid");
  const tip = byId("tip");
  const mark = byId("mark");
  const scale = byId("scale");
  const zoom = byId("zoom");
  const choice = byId("channel");
  const rowField = byId("row");
  const columnField = byId("column");
  scale.value = head.scale;
  let chosen = 0; // the channel that is shown large
  let cursor = 0; // the channel that the keyboard is at
  let cells = {};

  const sharesOf = (index) => (head.clipped ? [head.clipped[index], "clipped"] : [head.zeros[index], "zero"]);

  // The slider's ends: a thumbnail, and as wide as the page.
  const smallest = () => Math.min(24, 2 * columns);
  const largest = () => Math.max(80, Math.floor((box.clientWidth - GAP) / panels.length) - 4);
  const tileWidth = () => Math.round(smallest() * (largest() / smallest()) ** (zoom.value / 100));

  function setFirstZoom() {
    const wanted = columns >= 56 ? 112 : columns * Math.round(64 / columns);
    const width = box.clientWidth < 600 ? Math.min(wanted, (box.clientWidth - 2 * GAP) / 2 / panels.length - 3) : wanted;
    zoom.value = Math.round((100 * Math.log(width / smallest())) / Math.log(largest() / smallest()));
  }

  function layOut() {
    const between = (panels.length - 1) * 2;
    const atLeast = panels.length * tileWidth() + between;
    const perRow = Math.max(1, Math.floor((box.clientWidth + GAP) / (atLeast + GAP)));
    // A full row is as wide as the page.
    const room = Math.floor((box.clientWidth + GAP) / perRow) - GAP - between;
    const full = Math.floor(room / panels.length);
    const width = perRow < channels.length ? full : Math.min(full, tileWidth());
    const height = Math.max(1, Math.round((width * rows) / columns));
    const across = panels.length * width + between;
    const lines = Math.ceil(channels.length / perRow);
    cells = { width, height, across, perRow, stepX: across + GAP, stepY: height + LABEL + GAP };
    grid.dataset.cells = JSON.stringify(cells); // tests read where maps are
    space.style.height = `${lines * cells.stepY}px`;
    space.style.width = `${Math.max(perRow * cells.stepX - GAP, 1)}px`;
    draw();
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = box.clientWidth;
    const height = Math.min(box.clientHeight, space.clientHeight);
    if (grid.width !== Math.round(width * ratio) || grid.height !== Math.round(height * ratio)) {
      grid.width = Math.round(width * ratio);
      grid.height = Math.round(height * ratio);
      grid.style.width = `${width}px`;
      grid.style.height = `${height}px`;
    }
    const context = grid.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = cells.width * ratio < columns;
    context.imageSmoothingQuality = "high";
    context.textBaseline = "middle";
    const top = box.scrollTop;
    const first = Math.floor(top / cells.stepY) * cells.perRow;
    const last = Math.min(channels.length, Math.ceil((top + height) / cells.stepY) * cells.perRow);
    for (let index = first; index < last; index++) {
      const x = (index % cells.perRow) * cells.stepX;
      const y = Math.floor(index / cells.perRow) * cells.stepY - top;
      label(context, index, x, y);
      panels.forEach((panel, p) => {
        context.drawImage(tile(panel, index), x + p * (cells.width + 2), y + LABEL, cells.width, cells.height);
      });
      if (index === chosen) frame(context, x, y, "#1f5fae", []);
      if (index === cursor && document.activeElement === box) {
        frame(context, x, y, "#fff", []);
        frame(context, x, y, "#1c2530", [6, 4]);
      }
    }
  }

  function frame(context, x, y, colour, dashes) {
    context.strokeStyle = colour;
    context.lineWidth = 3;
    context.setLineDash(dashes);
    context.strokeRect(x + 1.5, y + LABEL + 1.5, cells.across - 3, cells.height - 3);
  }

  function label(context, index, x, y) {
    const middle = y + LABEL / 2;
    context.font = "600 12px system-ui, sans-serif";
    context.fillStyle = themed("--ink");
    const name = String(channels[index]);
    context.fillText(name, x, middle);
    let room = cells.across - context.measureText(name).width - 6;
    const [share, what] = sharesOf(index);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = themed("--soft");
    for (const text of [`${share} ${what}`, share]) {
      const needed = context.measureText(text).width;
      if (needed <= room) {
        context.fillText(text, x + cells.across - needed, middle);
        return;
      }
    }
  }

  function under(event) {
    const bounds = grid.getBoundingClientRect();
    const x = event.clientX - bounds.left;
    const y = event.clientY - bounds.top + box.scrollTop;
    const across = Math.floor(x / cells.stepX);
    const index = Math.floor(y / cells.stepY) * cells.perRow + across;
    const inX = x - across * cells.stepX;
    const inY = (y % cells.stepY) - LABEL;
    if (across >= cells.perRow || index >= channels.length || inX >= cells.across) return null;
    const p = Math.min(panels.length - 1, Math.floor(inX / (cells.width + 2)));
    const row = Math.floor((inY * rows) / cells.height);
    const column = Math.floor(((inX - p * (cells.width + 2)) * columns) / cells.width);
    const inside = row >= 0 && row < rows && column >= 0 && column < columns;
    return { index, row, column, inside };
  }

  // If no position is pointed at, the mark is at the position in the fields.
  function point(found) {
    found = found || read();
    mark.style.left = `${(100 * (found.column + 0.5)) / columns}%`;
    mark.style.top = `${(100 * (found.row + 0.5)) / rows}%`;
    mark.style.width = `${100 / columns}%`;
    mark.style.height = `${100 / rows}%`;
  }

  function hover(event) {
    const found = under(event);
    const shown = found && found.inside;
    tip.hidden = !shown;
    point(shown ? found : null);
    if (!shown) return;
    const position = found.row * columns + found.column;
    const lines = valuesAt(found.index, position);
    tip.textContent = [`channel ${channels[found.index]}, row ${found.row}, column ${found.column}`, ...lines].join("\n");
    const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 4);
    const below = event.clientY + 18 + tip.offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${below ? event.clientY + 18 : event.clientY - tip.offsetHeight - 12}px`;
  }

  grid.addEventListener("pointermove", hover);
  grid.addEventListener("pointerleave", () => {
    tip.hidden = true;
    point(null);
  });
  grid.addEventListener("click", (event) => {
    const found = under(event);
    if (!found) return;
    if (found.inside) readAt(found.row, found.column);
    open(found.index);
  });
  box.addEventListener("scroll", draw);

  // ---- The keyboard: arrow keys move from map to map, Enter shows one large.

  function open(index) {
    cursor = index;
    choose(index);
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    byId("one").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  }

  function moveTo(index) {
    cursor = Math.max(0, Math.min(channels.length - 1, index));
    const top = Math.floor(cursor / cells.perRow) * cells.stepY;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + cells.stepY > box.scrollTop + box.clientHeight) box.scrollTop = top + cells.stepY - box.clientHeight;
    const [share, what] = sharesOf(cursor);
    byId("cursor").textContent = `Channel ${channels[cursor]}, ${share} ${what}. Enter shows it large.`;
    draw();
  }

  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const inView = Math.max(1, Math.floor(box.clientHeight / cells.stepY)) * cells.perRow;
    const column = cursor % cells.perRow;
    const next = {
      ArrowLeft: cursor - 1,
      ArrowRight: cursor + 1,
      ArrowUp: cursor >= cells.perRow ? cursor - cells.perRow : cursor,
      ArrowDown: cursor + cells.perRow < channels.length ? cursor + cells.perRow : cursor,
      PageUp: cursor >= inView ? cursor - inView : column,
      PageDown: cursor + inView,
      Home: 0,
      End: channels.length - 1,
    }[event.key];
    if (next !== undefined) moveTo(next);
    else if (event.key === "Enter" || event.key === " ") {
      open(cursor);
      choice.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
  });
  box.addEventListener("focus", () => moveTo(cursor));
  box.addEventListener("blur", () => {
    byId("cursor").textContent = "";
    draw();
  });
  zoom.addEventListener("input", layOut);

  function legend() {
    const parts = panels.map((panel) => {
      const ends = scale.value === "shared" ? [lowOf, highOf].map((end) => short(end(panel, panel.shared))) : ["", "own limit"];
      if (scale.value !== "shared") ends[0] = { signed: "\u2212own limit", positive: "0", negative: "\u2212own limit" }[panel.colours];
      if (scale.value !== "shared" && panel.colours === "negative") ends[1] = "0";
      const bar = `linear-gradient(to right, ${panel.stops.join(",")})`;
      return `<span>${panel.title} ${ends[0]} <i style="background:${bar}"></i> ${ends[1]}</span>`;
    });
    byId("legend").innerHTML = `${parts.join("")}<span><i class="maps-zero" style="background:${head.zero}"></i> exactly 0</span>`;
  }

  function short(value) {
    const text = Number(Math.abs(value).toPrecision(3));
    return (value < 0 ? "\u2212" : "") + (text >= 10000 ? text.toExponential() : text);
  }

  // ---- One channel, large.

  const plot = byId("plot");

  // ---- One position of that channel, as text that can be copied.

  const within = (field) => Math.max(0, Math.min(Number(field.max), Math.round(Number(field.value) || 0)));
  const read = () => ({ row: within(rowField), column: within(columnField) });
  const valuesAt = (index, position) => panels.map((panel) => `${panel.title}: ${words(panel, codeAt(panel, index, position))}`);

  function readAt(row, column) {
    rowField.value = row;
    columnField.value = column;
    showPosition();
  }

  function showPosition() {
    const { row, column } = read();
    byId("values").textContent = valuesAt(chosen, row * columns + column).join(" \u00b7 ");
    point(null);
  }

  for (const field of [rowField, columnField]) field.addEventListener("input", showPosition);

  function facts() {
    const said = [`channel ${channels[chosen]}`];
    if (head.clipped) said.push(`${head.clipped[chosen]} clipped by ReLU`);
    said.push(`${head.zeros[chosen]} of the output exactly zero`);
    if (head.scores) said.push(`${head.best} ${head.scores[chosen].toPrecision(3)}`);
    byId("facts").textContent = said.join(" \u00b7 ");
  }

  function traces(panel, p) {
    const limit = limitOf(panel, chosen);
    const values = [];
    const zeros = [];
    const texts = [];
    for (let row = 0; row < rows; row++) {
      const codes = Array.from({ length: columns }, (_, column) => codeAt(panel, chosen, row * columns + column));
      values.push(codes.map((code) => (code === 0 ? null : valueOf(panel, code))));
      zeros.push(codes.map((code) => (code === 0 ? 0 : null)));
      texts.push(codes.map((code) => words(panel, code)));
    }
    const axes = { xaxis: p ? `x${p + 1}` : "x", yaxis: p ? `y${p + 1}` : "y" };
    const common = {
      ...axes,
      type: "heatmap",
      hoverongaps: false,
      text: texts,
      hovertemplate: `row %{y}, column %{x}<br><b>%{text}</b><extra>channel ${channels[chosen]}</extra>`,
    };
    const stops = panel.stops.map((colour, i) => [i / (panel.stops.length - 1), colour]);
    return [
      { ...common, z: zeros, zmin: 0, zmax: 1, colorscale: [[0, head.zero], [1, head.zero]], showscale: false },
      { ...common, z: values, zmin: lowOf(panel, limit), zmax: highOf(panel, limit), colorscale: stops, colorbar: {} },
    ];
  }

  function drawLarge() {
    const width = plot.clientWidth;
    const across = width >= 520 ? panels.length : 1;
    const down = panels.length / across;
    const [left, between, above, below] = [36, 44, 26, 66];
    const panelWidth = Math.min((width - left - 12 - between * (across - 1)) / across, across === 1 ? 460 : 420);
    const panelHeight = (panelWidth * rows) / columns;
    const total = { width: left + 12 + across * panelWidth + (across - 1) * between, height: down * (above + panelHeight + below) };
    const inner = { width: total.width - left - 12, height: total.height };
    const layout = {
      ...total,
      margin: { l: left, r: 12, t: 0, b: 0 },
      font: { size: 12, color: themed("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: themed("--soft"), activecolor: themed("--ink") },
      dragmode: window.matchMedia("(pointer: coarse)").matches ? false : "zoom",
      hovermode: "closest",
      annotations: [],
    };
    const all = [];
    panels.forEach((panel, p) => {
      const x0 = (p % across) * (panelWidth + between);
      const y1 = inner.height - Math.floor(p / across) * (above + panelHeight + below) - above;
      const name = p ? String(p + 1) : "";
      layout[`xaxis${name}`] = {
        domain: [x0 / inner.width, (x0 + panelWidth) / inner.width],
        anchor: `y${name}`,
        range: [-0.5, columns - 0.5],
        ...(p ? { matches: "x" } : {}),
        showgrid: false,
        zeroline: false,
        constrain: "domain",
        nticks: 6,
      };
      layout[`yaxis${name}`] = {
        domain: [(y1 - panelHeight) / inner.height, y1 / inner.height],
        anchor: `x${name}`,
        range: [rows - 0.5, -0.5],
        ...(p ? { matches: "y" } : {}),
        showgrid: false,
        zeroline: false,
        nticks: 6,
      };
      layout.annotations.push({
        text: `<b>${panel.title}</b>`,
        x: x0 / inner.width,
        y: y1 / inner.height,
        xref: "paper",
        yref: "paper",
        xanchor: "left",
        yanchor: "bottom",
        showarrow: false,
      });
      const [grey, coloured] = traces(panel, p);
      coloured.colorbar = {
        orientation: "h",
        x: (x0 + panelWidth / 2) / inner.width,
        xanchor: "center",
        y: (y1 - panelHeight - 24) / inner.height,
        yanchor: "top",
        lenmode: "pixels",
        len: panelWidth,
        thickness: 10,
        outlinewidth: 0,
        xpad: 0,
        ypad: 6,
        nticks: 6,
      };
      all.push(grey, coloured);
    });
    const config = {
      displaylogo: false,
      displayModeBar: true,
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d"]],
      responsive: false,
    };
    return Plotly.react(plot, all, layout, config);
  }

  function choose(index) {
    chosen = index;
    choice.value = String(index);
    facts();
    showPosition();
    draw();
    return drawLarge();
  }

  channels.forEach((channel, index) => choice.add(new Option(String(channel), String(index))));
  choice.addEventListener("change", () => choose(Number(choice.value)));
  byId("before").addEventListener("click", () => choose((chosen + channels.length - 1) % channels.length));
  byId("after").addEventListener("click", () => choose((chosen + 1) % channels.length));
  scale.addEventListener("change", () => {
    panels.forEach((panel) => panel.tiles.clear());
    legend();
    draw();
    drawLarge();
  });
  let resizing = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => {
      layOut();
      drawLarge();
    });
  });

  const titles = panels.map((panel) => panel.title).join(" and ");
  const [, what] = sharesOf(0);
  byId("caption").textContent = `Each channel: its number, ${titles}, and the share of its positions that is ${what}. Point at a position to read its value; click a map to see it large. With the keyboard: Tab to the maps, arrow keys, Enter.`;
  setFirstZoom();
  legend();
  layOut();
  await choose(0);
  plot.on("plotly_hover", (event) => point({ row: event.points[0].y, column: event.points[0].x }));
  plot.on("plotly_unhover", () => point(null));
  plot.on("plotly_click", (event) => readAt(event.points[0].y, event.points[0].x));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    draw();
    drawLarge();
  });
  document.documentElement.dataset.maps = "drawn";
}

showMaps().catch((error) => {
  const said = "This browser can't draw the maps: open the page in one of 2023 or later.";
  document.getElementById("maps-facts").textContent = `${said} (${error.message})`;
  throw error;
});
