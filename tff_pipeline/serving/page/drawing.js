// A canvas to draw on, or to show a picture on, as a model's pixels.
import { labelled } from "./labelled.js";

const PAD = 280; // Pixels of the canvas, however large it is shown.

// {name, element, wide, json, clear, ready}, as inputs.js wants it.
export function drawing(spec, shape, id, card) {
  const [height, width, channels] = shape;
  const element = labelled(spec, null, `draw here, ${width}×${height} pixels`);
  element.insertAdjacentHTML("beforeend", `
    <div class="drawing">
      <canvas class="pad" id="${id}" width="${PAD}" height="${PAD}"
        role="img" aria-label="Canvas: draw with mouse, pen or finger"></canvas>
      <figure>
        <canvas class="seen" width="${width}" height="${height}" role="img"
          aria-label="What the model sees"></canvas>
        <figcaption class="quiet">what the model sees</figcaption>
      </figure>
    </div>
    <div class="options">
      <label>brightest pixel <input class="most" inputmode="decimal" type="number"
        min="0" step="any"></label>
      <label><input class="invert" type="checkbox"> dark on light</label>
      <label>or a picture <input class="file" type="file" accept="image/*"></label>
    </div>`);
  const find = (name) => element.querySelector(`.${name}`);
  const pad = find("pad");
  const seen = find("seen");
  const most = find("most");
  most.value = brightest(spec, width, card);
  const ink = pad.getContext("2d", { willReadFrequently: true });
  const small = seen.getContext("2d", { willReadFrequently: true });
  let picture = null; // The last file; null while what is shown was drawn.
  let drawn = false;

  const clear = () => {
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, PAD, PAD);
    picture = null;
    drawn = false;
    find("file").value = "";
    look();
  };
  const look = () => {
    small.fillStyle = "#000";
    small.fillRect(0, 0, width, height);
    small.imageSmoothingQuality = "high";
    if (picture) small.drawImage(picture, ...cover(picture, width, height), 0, 0, width, height);
    else if (drawn) centre(pad, small, width, height);
    if (find("invert").checked) {
      small.globalCompositeOperation = "difference";
      small.fillStyle = "#fff";
      small.fillRect(0, 0, width, height);
      small.globalCompositeOperation = "source-over";
    }
  };

  pen(pad, ink, width, () => {
    if (picture) clear();
    drawn = true;
  }, look);
  find("invert").addEventListener("change", look);
  find("file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    try {
      picture = await createImageBitmap(file);
      ink.drawImage(picture, ...cover(picture, PAD, PAD), 0, 0, PAD, PAD);
      look();
    } catch {
      clear();
      find("file").value = "";
    }
  });

  const json = () => {
    const scale = Number(most.value) / 255;
    const { data } = small.getImageData(0, 0, width, height);
    const whole = /int/.test(spec.dtype);
    const value = (level) => whole ? Math.round(level * scale) : Number((level * scale).toPrecision(6));
    const grey = (at) => 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
    const pixel = (at) => {
      if (channels === 3) return [0, 1, 2].map((c) => value(data[at + c]));
      return channels === 1 ? [value(grey(at))] : value(grey(at));
    };
    return JSON.stringify(Array.from({ length: height }, (_, y) =>
      Array.from({ length: width }, (_, x) => pixel(4 * (y * width + x)))));
  };
  return { name: spec.name, element, wide: true, json, clear, ready: clear };
}

// What white is to the model, unless its card says so: bytes end at 255, the
// 8x8 digits of scikit-learn at 16, and floats mostly at 1.
function brightest(spec, width, card) {
  if (card.pixel_max) return card.pixel_max;
  if (!/int/.test(spec.dtype)) return 1;
  return width === 8 ? 16 : 255;
}

// The middle of a picture that fills width x height, as drawImage takes it.
function cover(picture, width, height) {
  const scale = Math.min(picture.width / width, picture.height / height);
  const [w, h] = [width * scale, height * scale];
  return [(picture.width - w) / 2, (picture.height - h) / 2, w, h];
}

function pen(pad, ink, width, begun, moved) {
  // As thick as the strokes that models of such images learned from.
  const thickness = width <= 16 ? PAD / 9 : PAD / 12;
  let last = null;
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * PAD,
      ((event.clientY - box.top) / box.height) * PAD,
    ];
  };
  const line = (to) => {
    Object.assign(ink, { lineWidth: thickness, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
    ink.beginPath();
    ink.moveTo(...last);
    ink.lineTo(...to);
    ink.stroke();
    last = to;
    moved();
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    begun();
    last = place(event);
    line(last);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    // All places since the last event, so that fast strokes stay round.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) line(place(each));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, () => { last = null; });
  }
}

// As MNIST was made: the drawing's box, scaled to 20 of 28 pixels, is laid so
// that its centre of mass is the image's middle. The 8x8 digits fill theirs.
function centre(pad, small, width, height) {
  const { data } = pad.getContext("2d").getImageData(0, 0, PAD, PAD);
  let [left, top, right, bottom] = [PAD, PAD, -1, -1];
  let [mass, massX, massY] = [0, 0, 0];
  for (let y = 0; y < PAD; y++) {
    for (let x = 0; x < PAD; x++) {
      const level = data[4 * (y * PAD + x)];
      if (level === 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
      mass += level;
      massX += level * (x + 0.5);
      massY += level * (y + 0.5);
    }
  }
  if (!mass) return;
  const [w, h] = [right - left, bottom - top];
  const full = Math.min(width, height) <= 16;
  const share = full ? 1 : 20 / 28;
  const scale = Math.min((share * width) / w, (share * height) / h);
  const [middleX, middleY] = full
    ? [left + w / 2, top + h / 2]
    : [massX / mass, massY / mass];
  // Halved until it nearly fits: a browser's smoothing looks at few neighbours.
  let [source, x, y, sw, sh] = [pad, left, top, w, h];
  let factor = 1;
  while (scale / factor < 0.5) {
    const half = new OffscreenCanvas(Math.ceil(sw / 2), Math.ceil(sh / 2));
    const brush = half.getContext("2d");
    brush.imageSmoothingQuality = "high";
    brush.drawImage(source, x, y, sw, sh, 0, 0, sw / 2, sh / 2);
    [source, x, y, sw, sh] = [half, 0, 0, sw / 2, sh / 2];
    factor /= 2;
  }
  small.drawImage(
    source, x, y, sw, sh,
    width / 2 - (middleX - left) * scale, height / 2 - (middleY - top) * scale,
    w * scale, h * scale,
  );
}
