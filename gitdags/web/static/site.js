// What a script adds: type-ahead, keys, zoom, and parts of a page swapped without loading the rest.
// Every page works without it; all state stays in the address.
"use strict";
(() => {
  const $ = (what, where = document) => where.querySelector(what);
  const $$ = (what, where = document) => [...where.querySelectorAll(what)];
  const say = (text) => { $("#live").textContent = text; };
  const toast = (text) => {
    const box = Object.assign(document.createElement("div"), { className: "toast", textContent: text });
    document.body.append(box);
    say(text);
    setTimeout(() => box.remove(), 1800);
  };

  // ── copying, theme, help ────────────────────────────────────────────────────────────────
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied");
    } catch { toast("The browser did not let it be copied"); }
  };
  const theme = () => {
    const now = document.documentElement.dataset.theme
      || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    const next = now === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("gitdags-theme", next); } catch { /* only for this page then */ }
  };
  const help = () => { const box = $("#help"); if (box.open) box.close(); else box.showModal(); };

  // ── type-ahead of revisions ─────────────────────────────────────────────────────────────
  const refs = document.body.dataset.refs;
  let options = null; // {list, input, items, at}
  const closeOptions = () => {
    if (!options) return;
    options.list.remove();
    options.input.setAttribute("aria-expanded", "false");
    options.input.removeAttribute("aria-activedescendant");
    options = null;
  };
  const choose = (value) => {
    const { input } = options;
    input.value = value;
    closeOptions();
    if (input.form.reportValidity()) input.form.requestSubmit();
  };
  const mark = (at) => {
    options.at = at;
    options.items.forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
    const item = options.items[at];
    if (item) { item.scrollIntoView({ block: "nearest" }); options.input.setAttribute("aria-activedescendant", item.id); }
  };
  let asked = 0;
  const offer = async (input) => {
    const mine = ++asked;
    const typed = input.dataset.touched ? input.value.trim() : "";
    try {
      const join = refs.includes("?") ? "&" : "?";
      const wanted = [fetch(`${refs}${join}limit=40&q=${encodeURIComponent(typed)}`)];
      if (!typed) wanted.push(fetch(document.body.dataset.commits));
      const answers = await Promise.all(wanted);
      const [found, recent] = await Promise.all(answers.map((a) => (a.ok ? a.json() : {})));
      if (mine !== asked || document.activeElement !== input) return;
      closeOptions();
      const list = Object.assign(document.createElement("ul"), { className: "options", id: "options" });
      list.setAttribute("role", "listbox");
      list.setAttribute("aria-label", "Revisions");
      const items = [];
      const add = (name, what, value) => {
        const item = document.createElement("li");
        item.id = `option-${items.length}`;
        item.setAttribute("role", "option");
        item.setAttribute("aria-selected", "false");
        const left = Object.assign(document.createElement("span"), { className: "name", textContent: name });
        const right = Object.assign(document.createElement("span"), { className: "what", textContent: what });
        item.append(left, right);
        item.addEventListener("pointerdown", (event) => { event.preventDefault(); choose(value); });
        items.push(item);
        list.append(item);
      };
      for (const ref of found.refs || []) add(ref.short, ref.kind, ref.short);
      for (const one of (recent && recent.commits) || []) add(one.commit.slice(0, 12), one.subject, one.commit);
      if (!items.length) return;
      input.closest(".ref").append(list);
      input.setAttribute("aria-expanded", "true");
      options = { list, input, items, at: -1 };
    } catch { /* the server is away: typing still works */ }
  };
  for (const input of refs ? $$("form[data-picker] .field input") : []) {
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-expanded", "false");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-controls", "options");
    let timer;
    input.addEventListener("focus", () => { input.select(); offer(input); });
    input.addEventListener("input", () => {
      input.dataset.touched = "1";
      clearTimeout(timer);
      timer = setTimeout(() => offer(input), 90);
    });
    input.addEventListener("blur", closeOptions);
    input.addEventListener("keydown", (event) => {
      if (!options) return;
      const last = options.items.length - 1;
      if (event.key === "ArrowDown") { event.preventDefault(); mark(options.at >= last ? 0 : options.at + 1); }
      else if (event.key === "ArrowUp") { event.preventDefault(); mark(options.at <= 0 ? last : options.at - 1); }
      else if (event.key === "Escape") { event.stopPropagation(); closeOptions(); }
      else if (event.key === "Enter" && options.at >= 0) {
        event.preventDefault();
        options.items[options.at].dispatchEvent(new Event("pointerdown", { cancelable: true }));
      }
    });
  }

  // ── the graph: pan, zoom, what leads where ──────────────────────────────────────────────
  const graphs = new WeakMap();
  const enliven = (figure) => {
    const view = $(".view", figure);
    const svg = view && $("svg", view);
    if (!svg) return;
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    figure.classList.add("live");
    // As high as it is wide on this screen, within what the style allows.
    const wanted = Math.max(180, Math.min(height * Math.min(1, view.clientWidth / width) + 8, innerHeight * 0.72, 736));
    const tall = height > wanted && width < view.clientWidth ? Math.min(height + 8, innerHeight * 0.72, 736) : wanted;
    view.style.height = `${tall}px`;
    const box = { x: 0, y: 0, w: width, h: height };
    const show = () => svg.setAttribute("viewBox", `${box.x} ${box.y} ${box.w} ${box.h}`);
    const scale = () => box.w / view.clientWidth;
    const fit = () => {
      // Never larger than drawn, and not so small that nothing can be read: then the beginning is shown.
      const least = Math.max(width / view.clientWidth, height / view.clientHeight, 1);
      const s = Math.min(least, 2.6);
      box.w = view.clientWidth * s; box.h = view.clientHeight * s;
      box.x = box.w >= width ? (width - box.w) / 2 : 0;
      box.y = box.h >= height ? (height - box.h) / 2 : 0;
      show();
    };
    const whole = () => {
      const s = Math.max(width / view.clientWidth, height / view.clientHeight, 1);
      box.w = view.clientWidth * s; box.h = view.clientHeight * s;
      box.x = (width - box.w) / 2; box.y = (height - box.h) / 2;
      show();
    };
    const zoom = (factor, px = view.clientWidth / 2, py = view.clientHeight / 2) => {
      const next = Math.min(Math.max(scale() * factor, 0.2), 60);
      const x = box.x + px * scale(), y = box.y + py * scale();
      box.w = view.clientWidth * next; box.h = view.clientHeight * next;
      box.x = x - px * next; box.y = y - py * next;
      show();
    };
    const reveal = (node) => {
      const at = node.getBBox();
      const pad = 24 * scale();
      const ox = 16, oy = 16; // the drawing's own margin
      if (at.x + ox < box.x + pad || at.x + at.width + ox > box.x + box.w - pad) box.x = at.x + at.width / 2 + ox - box.w / 2;
      if (at.y + oy < box.y + pad || at.y + at.height + oy > box.y + box.h - pad) box.y = at.y + at.height / 2 + oy - box.h / 2;
      show();
    };
    view.addEventListener("wheel", (event) => {
      const r = view.getBoundingClientRect();
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        zoom(Math.exp(event.deltaY * 0.0022), event.clientX - r.left, event.clientY - r.top);
      } else if (box.w < width - 1 || box.h < height - 1) {
        const s = scale(), y = box.y;
        box.x = Math.min(Math.max(box.x + (event.shiftKey ? event.deltaY : event.deltaX) * s, -box.w / 2), width - box.w / 2);
        if (!event.shiftKey) box.y = Math.min(Math.max(box.y + event.deltaY * s, Math.min(0, height - box.h)), Math.max(0, height - box.h));
        if (event.shiftKey || event.deltaX || y !== box.y) event.preventDefault(); // else the page scrolls on
        show();
      }
    }, { passive: false });
    let drag = null;
    const fingers = new Map();
    view.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      fingers.set(event.pointerId, event);
      drag = { x: event.clientX, y: event.clientY, moved: false };
    });
    view.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId) || !drag) return;
      const before = [...fingers.values()];
      if (before.length === 2) {
        const other = before.find((one) => one.pointerId !== event.pointerId);
        const old = fingers.get(event.pointerId);
        const d0 = Math.hypot(old.clientX - other.clientX, old.clientY - other.clientY);
        const d1 = Math.hypot(event.clientX - other.clientX, event.clientY - other.clientY);
        const r = view.getBoundingClientRect();
        if (d1 > 1) zoom(d0 / d1, (event.clientX + other.clientX) / 2 - r.left, (event.clientY + other.clientY) / 2 - r.top);
        drag.moved = true;
      } else {
        const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
        if (!drag.moved && Math.hypot(dx, dy) < 5) return;
        drag.moved = true;
        view.classList.add("drag");
        if (!view.hasPointerCapture(event.pointerId)) view.setPointerCapture(event.pointerId);
        box.x -= dx * scale(); box.y -= dy * scale();
        drag.x = event.clientX; drag.y = event.clientY;
        show();
      }
      fingers.set(event.pointerId, event);
    });
    const end = (event) => {
      fingers.delete(event.pointerId);
      view.classList.remove("drag");
      if (!fingers.size) setTimeout(() => { drag = null; }, 0);
    };
    view.addEventListener("pointerup", end);
    view.addEventListener("pointercancel", end);
    view.addEventListener("click", (event) => { if (drag && drag.moved) { event.preventDefault(); event.stopPropagation(); } }, true);
    view.addEventListener("dragstart", (event) => event.preventDefault());

    const nodes = new Map($$(".node", svg).map((node) => [node.id.slice(1), node]));
    const up = new Map(), down = new Map();
    const lines = $$("path.edge", svg).map((line) => {
      const [a, b] = line.dataset.e.split(" ");
      (down.get(a) || down.set(a, []).get(a)).push([b, line]);
      (up.get(b) || up.set(b, []).get(b)).push([a, line]);
      return line;
    });
    const dim = () => {
      svg.classList.remove("focus");
      for (const lit of $$(".lit", svg)) lit.classList.remove("lit");
    };
    const light = (id) => {
      dim();
      svg.classList.add("focus");
      nodes.get(id).classList.add("lit");
      for (const map of [up, down]) {
        const stack = [id], seen = new Set(stack);
        while (stack.length) {
          for (const [next, line] of map.get(stack.pop()) || []) {
            line.classList.add("lit");
            if (seen.has(next)) continue;
            seen.add(next);
            nodes.get(next).classList.add("lit");
            stack.push(next);
          }
        }
      }
    };
    let waiting;
    svg.addEventListener("pointerover", (event) => {
      const node = event.target.closest(".node");
      clearTimeout(waiting);
      if (node && lines.length) waiting = setTimeout(() => light(node.id.slice(1)), 180);
      else if (svg.classList.contains("focus")) waiting = setTimeout(dim, 120);
    });
    view.addEventListener("pointerleave", () => { clearTimeout(waiting); dim(); });
    graphs.set(figure, { zoom, fit, whole, reveal, nodes, svg, view });
    fit();
    select(figure);
  };
  const select = (figure) => {
    const graph = graphs.get(figure);
    if (!graph) return;
    const task = new URLSearchParams(location.search).get("task");
    for (const node of graph.nodes.values()) {
      const at = node.dataset.task !== undefined && node.dataset.task === task;
      node.classList.toggle("at", at);
      if (at) { node.setAttribute("aria-current", "true"); graph.reveal(node); } else node.removeAttribute("aria-current");
    }
  };
  for (const figure of $$("[data-canvas]")) enliven(figure);
  addEventListener("resize", () => $$("[data-canvas]").forEach((f) => { const g = graphs.get(f); if (g) g.fit(); }));

  // ── parts of a page, swapped ────────────────────────────────────────────────────────────
  const load = async (address, part) => {
    const url = new URL(address, location.href);
    if (part) url.searchParams.set("part", part);
    const answer = await fetch(url, { headers: { accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };
  const panel = async (address, focus) => {
    const url = new URL(address, location.href);
    try {
      const place = $("#panel"), stage = $("[data-stage]");
      if (url.searchParams.get("task")) {
        const found = $("aside", await load(url, "panel"));
        place.replaceChildren(...(found ? [found] : []));
      } else place.replaceChildren();
      stage.classList.toggle("two", place.childElementCount > 0);
      const figure = $("[data-canvas]", stage);
      const graph = figure && graphs.get(figure);
      if (graph) graph.fit();
      if (figure) select(figure);
      const task = url.searchParams.get("task");
      for (const row of $$("#tasks tr.at")) row.classList.remove("at");
      for (const link of $$("#tasks a[data-panel]")) {
        if (new URL(link.href).searchParams.get("task") === task) link.closest("tr").classList.add("at");
      }
      if (task) say(`Task ${task}`);
      if (focus && place.firstElementChild) { place.firstElementChild.tabIndex = -1; place.firstElementChild.focus({ preventScroll: innerWidth > 1100 }); }
    } catch { location.assign(url); }
  };
  const swap = async (address) => {
    try {
      const found = await load(address);
      for (const id of ["canvas", "panel"]) {
        const here = document.getElementById(id), there = found.getElementById(id);
        if (here && there) here.replaceWith(there);
      }
      const table = $("#tasks"), other = $("#tasks", found);
      if (table && other) table.replaceWith(other);
      const title = $("#tasks-title"), words = $("#tasks-title", found);
      if (title && words) title.textContent = words.textContent;
      for (const figure of $$("[data-canvas]")) if (!graphs.has(figure)) enliven(figure);
      say("The graph was drawn anew");
    } catch { location.assign(address); }
  };
  const go = (address, how, focus) => {
    history.pushState({ how }, "", address);
    return how === "panel" ? panel(address, focus) : swap(address);
  };
  addEventListener("popstate", () => { if ($("[data-stage]")) swap(location.href).then(() => panel(location.href)); });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy],[data-do],[data-zoom]");
    if (button) {
      if (button.dataset.copy !== undefined) copy(button.dataset.copy);
      else if (button.dataset.do === "theme") theme();
      else if (button.dataset.do === "help") help();
      else {
        const graph = graphs.get(button.closest("[data-canvas]"));
        if (graph) ({ in: () => graph.zoom(0.75), out: () => graph.zoom(1.33), fit: graph.whole })[button.dataset.zoom]();
      }
      return;
    }
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest("a");
    if (!link || !$("[data-stage]")) return;
    const address = link.getAttribute("href");
    if (link.matches(".node:not(.folded), [data-panel]")) { event.preventDefault(); go(address, "panel", true); }
    else if (link.matches(".fold, .node.folded, [data-swap]")) { event.preventDefault(); go(address, "swap"); }
  });

  // ── lines of code: a range in the address ───────────────────────────────────────────────
  const range = () => {
    const found = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    for (const row of $$(".listing tr.at")) row.classList.remove("at");
    if (!found) return;
    const a = Number(found[1]), b = Number(found[2] || found[1]);
    for (let n = Math.min(a, b); n <= Math.max(a, b) && n - Math.min(a, b) < 5000; n++) {
      const row = document.getElementById(`L${n}`);
      if (row) row.classList.add("at");
    }
    const first = document.getElementById(`L${Math.min(a, b)}`);
    if (first && found[2]) first.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", range);
  range();
  document.addEventListener("click", (event) => {
    const number = event.target.closest(".listing .ln a");
    if (!number || !event.shiftKey) return;
    const begin = /^#L(\d+)/.exec(location.hash);
    if (!begin) return;
    event.preventDefault();
    const ends = [Number(begin[1]), Number(number.textContent)].sort((x, y) => x - y);
    history.replaceState(null, "", `${location.pathname}${location.search}#L${ends[0]}-L${ends[1]}`);
    range();
  });

  // ── filtering as one types ──────────────────────────────────────────────────────────────
  const filter = (input, table) => {
    const needle = input.value.trim().toLowerCase();
    let shown = 0;
    for (const row of $$("tbody tr", table)) {
      const fits = !needle || (row.dataset.name || "").includes(needle);
      row.hidden = !fits;
      shown += fits;
    }
    say(`${shown} shown`);
    return needle;
  };
  document.addEventListener("input", (event) => {
    const input = event.target;
    if (input.dataset.filter) filter(input, document.getElementById(input.dataset.filter));
    else if (input.dataset.tasks !== undefined) {
      const table = $("#tasks");
      const needle = table ? filter(input, table) : input.value.trim().toLowerCase();
      const graph = graphs.get(input.closest("[data-canvas]"));
      let first = null;
      for (const node of graph ? graph.nodes.values() : []) {
        const fits = needle && (node.dataset.task || node.dataset.group || "").toLowerCase().includes(needle);
        node.classList.toggle("hit", Boolean(fits));
        if (fits && !first) first = node;
      }
      if (first) graph.reveal(first);
    }
  });

  // ── keys ────────────────────────────────────────────────────────────────────────────────
  const rows = () => {
    const places = ["#tasks tbody tr", "#dags tbody tr", "#changes tbody tr", "#runs tbody tr", "#entries tbody tr", "#found tbody tr", ".timeline li", ".delta tr"];
    for (const place of places) {
      const found = $$(place).filter((row) => !row.hidden && (!row.closest(".delta") || $(".old,.new", row)));
      if (found.length) return found;
    }
    return [];
  };
  let current = null;
  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(current);
    current = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    const link = $("a.key", current) || $("a", current);
    if (link) link.focus(); else { current.tabIndex = -1; current.focus(); }
    current.scrollIntoView({ block: "nearest" });
    const task = link && link.matches("[data-panel]") && new URL(link.href).searchParams.get("task");
    if (task) {
      for (const figure of $$("[data-canvas]")) {
        const graph = graphs.get(figure);
        for (const node of graph ? graph.nodes.values() : []) {
          node.classList.toggle("hit", node.dataset.task === task);
          if (node.dataset.task === task) graph.reveal(node);
        }
      }
    }
  };
  const focus = (...keys) => {
    for (const key of keys) {
      const input = $(`[data-key=${key}]`);
      if (input) { input.focus(); input.select(); return true; }
    }
    return false;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape") {
      if (typing) event.target.blur();
      else if ($("#panel > *")) { const close = $("[data-panel=close]"); if (close) close.click(); }
      return;
    }
    if (typing || $("#help").open) return;
    const figure = $("[data-canvas]");
    const graph = figure && graphs.get(figure);
    const body = document.body.dataset;
    const done = {
      "/": () => focus("here", "find"),
      t: () => focus("ref"),
      y: () => { if (body.permalink && body.fixed === undefined) location.assign(body.permalink); else if (body.permalink) toast("This is a link that stays"); },
      j: () => step(1),
      k: () => step(-1),
      "?": help,
      "+": () => graph && graph.zoom(0.75),
      "=": () => graph && graph.zoom(0.75),
      "-": () => graph && graph.zoom(1.33),
      0: () => graph && graph.whole(),
    }[event.key];
    if (done) { event.preventDefault(); done(); return; }
    // Arrows walk along the edges once a task of the graph has the focus.
    const node = event.target.closest && event.target.closest(".graph .node");
    if (node && graph && event.key.startsWith("Arrow")) {
      const here = node.getBoundingClientRect();
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      let best = null, least = Infinity;
      for (const other of graph.nodes.values()) {
        if (other === node) continue;
        const r = other.getBoundingClientRect();
        const x = r.left + r.width / 2 - here.left - here.width / 2, y = r.top + r.height / 2 - here.top - here.height / 2;
        const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
        if (along > 4 && along + across * 2.5 < least) { best = other; least = along + across * 2.5; }
      }
      if (best) { event.preventDefault(); graph.reveal(best); best.focus({ preventScroll: true }); }
    } else if (graph && event.target === graph.view && event.key.startsWith("Arrow")) {
      const first = graph.nodes.values().next().value;
      if (first) { event.preventDefault(); first.focus({ preventScroll: true }); graph.reveal(first); }
    }
  });
  $("#help").addEventListener("click", (event) => { if (event.target === event.currentTarget) event.currentTarget.close(); });

})();
