"use strict";
// Rotatable view of the lumen wall. Needs WebGL 2; without it the page keeps its still picture.
(function () {
  const box = document.getElementById("viewer");
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = box.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl) {
    box.classList.add("without");
    return;
  }

  // ---- data -------------------------------------------------------------------------------------
  function bytes(text) {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out.buffer;
  }
  const positions = new Uint16Array(bytes(scene.positions));
  const Index = scene.index_bytes === 2 ? Uint16Array : Uint32Array;
  const triangles = new Index(bytes(scene.triangles));
  const count = positions.length / 3;
  const normals = vertexNormals();
  let extent = [0, 0, 0];
  for (let i = 0; i < positions.length; i++) extent[i % 3] = Math.max(extent[i % 3], positions[i] / 65535);
  const centre = extent.map((x) => x / 2);
  const reach = Math.hypot(extent[0], extent[1], extent[2]) / 2;

  function vertexNormals() {
    const sum = new Float32Array(positions.length), out = new Int8Array(count * 4);
    for (let t = 0; t < triangles.length; t += 3) {
      const a = 3 * triangles[t], b = 3 * triangles[t + 1], c = 3 * triangles[t + 2];
      const u = [0, 1, 2].map((k) => positions[b + k] - positions[a + k]);
      const v = [0, 1, 2].map((k) => positions[c + k] - positions[a + k]);
      const n = cross(u, v);
      for (let k = 0; k < 3; k++) { sum[a + k] += n[k]; sum[b + k] += n[k]; sum[c + k] += n[k]; }
    }
    for (let i = 0; i < count; i++) {
      const l = Math.hypot(sum[3 * i], sum[3 * i + 1], sum[3 * i + 2]) || 1;
      for (let k = 0; k < 3; k++) out[4 * i + k] = Math.round(127 * sum[3 * i + k] / l);
    }
    return out;
  }
  function cross(u, v) {
    return [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  }
  function rgb(hex) {
    return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
  }

  // ---- programs ---------------------------------------------------------------------------------
  const VERTEX = `#version 300 es
    in vec3 position; in vec3 normal; in float value; in float valid;
    uniform mat4 toClip; uniform mat3 turn;
    out vec3 n; out float v; out float ok;
    void main() { gl_Position = toClip * vec4(position, 1.0); n = turn * normal; v = value; ok = valid; }`;
  const COLOUR = `#version 300 es
    precision highp float;
    in vec3 n; in float v; in float ok;
    uniform vec2 data, range; uniform float threshold; uniform vec3 masked, under; uniform bool hasUnder;
    uniform sampler2D colours;
    out vec4 pixel;
    void main() {
      float x = mix(data.x, data.y, v), t = (x - range.x) / (range.y - range.x);
      vec3 c = texture(colours, vec2(clamp(t, 0.0, 1.0) * 255.0 / 256.0 + 0.5 / 256.0, 0.5)).rgb;
      if (hasUnder && t < 0.0) c = under;
      float width = fwidth(x);
      if (threshold > 0.0 && width > 0.0 && abs(x - threshold) < 0.9 * width) c = vec3(0.05);
      if (ok < 0.99) c = masked;
      float light = abs(normalize(n).z);
      pixel = vec4(c * (0.42 + 0.58 * light) + vec3(0.10) * pow(light, 24.0), 1.0);
    }`;
  const PICK = `#version 300 es
    precision highp float;
    in vec3 n; in float v; in float ok;
    out vec4 pixel;
    void main() {
      float q = floor(clamp(v, 0.0, 1.0) * 65534.0 + 0.5), high = floor(q / 256.0);
      pixel = vec4(high / 255.0, (q - 256.0 * high) / 255.0, ok < 0.99 ? 0.5 : 1.0, 1.0);
    }`;

  function program(fragment) {
    const made = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(made, shader);
    }
    ["position", "normal", "value", "valid"].forEach((name, k) => gl.bindAttribLocation(made, k, name));
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
    const at = {};
    const active = gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS);
    for (let i = 0; i < active; i++) {
      const name = gl.getActiveUniform(made, i).name;
      at[name] = gl.getUniformLocation(made, name);
    }
    return { made, at };
  }
  const colourProgram = program(COLOUR), pickProgram = program(PICK);

  function buffer(slot, data, size, type, normalised) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, size, type, normalised, 0, 0);
  }
  const fields = scene.fields.map((field) => {
    const values = new Uint16Array(bytes(field.values)), valid = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      valid[i] = values[i] === 65535 ? 0 : 255;
      if (!valid[i]) values[i] = 0;
    }
    const vao = gl.createVertexArray();
    gl.bindVertexArray(vao);
    buffer(0, positions, 3, gl.UNSIGNED_SHORT, true);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, normals, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 3, gl.BYTE, true, 4, 0);
    buffer(2, values, 1, gl.UNSIGNED_SHORT, true);
    buffer(3, valid, 1, gl.UNSIGNED_BYTE, true);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
    const table = new Uint8Array(bytes(field.colours)), texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, table);
    for (const [key, value] of [[gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE]])
      gl.texParameteri(gl.TEXTURE_2D, key, value);
    return { ...field, vao, table, texture };
  });
  const pickFrame = gl.createFramebuffer(), pickTexture = gl.createTexture(), pickDepth = gl.createRenderbuffer();

  // ---- view -------------------------------------------------------------------------------------
  let turn, zoom, pan, current = fields[0], dirty = false, pickFresh = false;
  function reset() {
    turn = scene.view.map((row) => row.slice());
    fit();
    draw();
  }
  function fit() {
    const low = [9, 9], high = [-9, -9];
    for (let i = 0; i < positions.length; i += 3)
      for (let k = 0; k < 2; k++) {
        let x = 0;
        for (let j = 0; j < 3; j++) x += turn[k][j] * (positions[i + j] / 65535 - centre[j]);
        low[k] = Math.min(low[k], x);
        high[k] = Math.max(high[k], x);
      }
    const a = aspect(), room = [0.80, 0.90];
    zoom = Math.min(...[0, 1].map((k) => 2 * room[k] / (a[k] * Math.max(high[k] - low[k], 1e-6))));
    pan = [0, 1].map((k) => -zoom * (low[k] + high[k]) / 2);
    pan[0] -= 0.08 / a[0];
  }
  function rotate(dx, dy) {
    const cx = Math.cos(dx), sx = Math.sin(dx), cy = Math.cos(dy), sy = Math.sin(dy);
    const [r, u, t] = turn;
    const r1 = r.map((x, i) => cx * x + sx * t[i]), t1 = t.map((x, i) => cx * x - sx * r[i]);
    const u1 = u.map((x, i) => cy * x - sy * t1[i]), t2 = t1.map((x, i) => cy * x + sy * u[i]);
    const length = Math.hypot(...t2), t3 = t2.map((x) => x / length);
    const side = cross(u1, t3), norm = Math.hypot(...side), r3 = side.map((x) => x / norm);
    turn = [r3, cross(t3, r3), t3];
  }
  function aspect() {
    const w = canvas.width, h = canvas.height;
    return w > h ? [h / w, 1] : [1, w / h];
  }
  function project(p) {
    const a = aspect(), d = p.map((x, i) => x - centre[i]);
    return [0, 1].map((k) => a[k] * (zoom * (turn[k][0] * d[0] + turn[k][1] * d[1] + turn[k][2] * d[2]) + pan[k]));
  }
  function toClip() {
    const a = aspect(), m = new Float32Array(16);
    const rows = [turn[0].map((x) => x * zoom * a[0]), turn[1].map((x) => x * zoom * a[1]), turn[2].map((x) => -x / (1.1 * reach))];
    const shift = [a[0] * pan[0], a[1] * pan[1], 0];
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) m[4 * j + i] = rows[i][j];
      m[12 + i] = shift[i] - rows[i].reduce((s, x, j) => s + x * centre[j], 0);
    }
    m[15] = 1;
    return m;
  }

  function pass(shader) {
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(shader.made);
    gl.uniformMatrix4fv(shader.at.toClip, false, toClip());
    const m = turn;
    if (shader.at.turn) gl.uniformMatrix3fv(shader.at.turn, false,
      [m[0][0], m[1][0], m[2][0], m[0][1], m[1][1], m[2][1], m[0][2], m[1][2], m[2][2]]);
    gl.bindVertexArray(current.vao);
    gl.drawElements(gl.TRIANGLES, triangles.length, scene.index_bytes === 2 ? gl.UNSIGNED_SHORT : gl.UNSIGNED_INT, 0);
  }
  function paint() {
    dirty = false;
    pickFresh = false;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.clearColor(1, 1, 1, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const at = colourProgram.at;
    gl.useProgram(colourProgram.made);
    gl.uniform2f(at.data, current.data_low, current.data_high);
    gl.uniform2f(at.range, current.low, current.high);
    gl.uniform1f(at.threshold, current.threshold || 0);
    gl.uniform3fv(at.masked, rgb(scene.masked_colour));
    gl.uniform1i(at.hasUnder, current.under ? 1 : 0);
    gl.uniform3fv(at.under, rgb(current.under || "#000000"));
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, current.texture);
    gl.uniform1i(at.colours, 0);
    pass(colourProgram);
    placeLabels();
  }
  function draw() {
    if (!dirty) { dirty = true; requestAnimationFrame(paint); }
  }
  function resize() {
    const ratio = window.devicePixelRatio || 1;
    const w = Math.max(1, Math.round(canvas.clientWidth * ratio)), h = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (w !== canvas.width || h !== canvas.height) { canvas.width = w; canvas.height = h; }
    if (turn) draw();
  }

  // ---- value under the pointer ------------------------------------------------------------------
  function pick(x, y) {
    gl.bindFramebuffer(gl.FRAMEBUFFER, pickFrame);
    if (!pickFresh) {
      gl.bindTexture(gl.TEXTURE_2D, pickTexture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, canvas.width, canvas.height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      gl.bindRenderbuffer(gl.RENDERBUFFER, pickDepth);
      gl.renderbufferStorage(gl.RENDERBUFFER, gl.DEPTH_COMPONENT16, canvas.width, canvas.height);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, pickTexture, 0);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.RENDERBUFFER, pickDepth);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      pass(pickProgram);
      pickFresh = true;
    }
    const ratio = canvas.width / canvas.clientWidth, found = new Uint8Array(4);
    gl.readPixels(Math.round(x * ratio), Math.round(canvas.height - 1 - y * ratio), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, found);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    if (found[2] === 0) return null;
    if (found[2] < 200) return NaN;
    return current.data_low + (current.data_high - current.data_low) * (256 * found[0] + found[1]) / 65534;
  }
  const tip = box.querySelector(".tip");
  function hover(event) {
    const frame = canvas.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    const value = pick(x, y);
    tip.hidden = value === null;
    if (value === null) return;
    tip.textContent = Number.isNaN(value) ? "flow extension"
      : current.caption.split(" [")[0] + " " + value.toFixed(current.digits) + (current.unit ? " " + current.unit : "");
    tip.style.transform = `translate(${x + 14}px, ${y + 14}px)`;
  }

  // ---- labels, colour bar, buttons --------------------------------------------------------------
  const labels = scene.labels.map((label) => {
    const element = document.createElement("span");
    element.className = "label " + label.kind;
    element.textContent = label.text;
    box.querySelector(".stage").append(element);
    return { element, at: label.point_mm.map((x, i) => (x - scene.origin_mm[i]) / scene.size_mm) };
  });
  function placeLabels() {
    for (const { element, at } of labels) {
      const [x, y] = project(at);
      element.style.transform = `translate(${(x + 1) / 2 * canvas.clientWidth}px, ${(1 - y) / 2 * canvas.clientHeight}px)`;
    }
  }
  function show(field) {
    current = field;
    const stops = [];
    for (let i = 0; i <= 16; i++) {
      const k = 3 * Math.min(255, Math.round(255 * i / 16));
      stops.push(`rgb(${field.table[k]},${field.table[k + 1]},${field.table[k + 2]})`);
    }
    box.querySelector(".ramp").style.background = `linear-gradient(to top, ${stops.join(",")})`;
    box.querySelector(".caption").textContent = field.caption;
    const under = box.querySelector(".under");
    under.hidden = !field.under;
    under.textContent = "< " + field.low;
    under.style.borderTopColor = field.under || "";
    const ticks = box.querySelector(".ticks");
    ticks.replaceChildren(...[0, 1, 2, 3, 4, 5].map((i) => {
      const tick = document.createElement("span"), value = field.high - (field.high - field.low) * i / 5;
      tick.textContent = field.high <= 2 ? value.toFixed(2) : String(Math.round(value * 100) / 100);
      return tick;
    }));
    for (const button of box.querySelectorAll("[data-field]"))
      button.setAttribute("aria-pressed", String(button.dataset.field === field.name));
    if (turn) draw();
  }
  const bar = box.querySelector(".fields");
  for (const field of fields) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.field = field.name;
    button.textContent = field.caption;
    button.addEventListener("click", () => show(field));
    bar.append(button);
  }
  box.querySelector(".reset").addEventListener("click", reset);
  box.querySelector(".names").addEventListener("click", (event) => {
    const hidden = box.querySelector(".stage").classList.toggle("bare");
    event.currentTarget.setAttribute("aria-pressed", String(!hidden));
  });

  // ---- mouse, touch, keys -----------------------------------------------------------------------
  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    tip.hidden = true;
  });
  for (const kind of ["pointerup", "pointercancel"])
    canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) { hover(event); return; }
    const now = [event.clientX, event.clientY], dx = now[0] - before[0], dy = now[1] - before[1];
    const unit = 2 / Math.min(canvas.clientWidth, canvas.clientHeight);
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]);
      const is = Math.hypot(now[0] - other[0], now[1] - other[1]);
      magnify(is / Math.max(was, 1));
      pan = [pan[0] + dx * unit / 2, pan[1] - dy * unit / 2];
    } else if (event.shiftKey || event.buttons & 6) {
      pan = [pan[0] + dx * unit, pan[1] - dy * unit];
    } else {
      rotate(-dx * 0.008, -dy * 0.008);
    }
    fingers.set(event.pointerId, now);
    draw();
  });
  function magnify(factor) {
    const next = Math.min(60 / reach, Math.max(0.3 / reach, zoom * factor));
    pan = pan.map((x) => x * next / zoom);
    zoom = next;
    draw();
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    magnify(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
  }, { passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (step) rotate(...step);
    else if (event.key === "+" || event.key === "=") magnify(1.2);
    else if (event.key === "-") magnify(1 / 1.2);
    else return;
    event.preventDefault();
    draw();
  });
  new ResizeObserver(resize).observe(canvas);
  resize();
  show(fields[0]);
  reset();
  box.dataset.ready = "yes";
})();
