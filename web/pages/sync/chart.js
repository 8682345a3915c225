/* Small line charts, in SVG. */

import { drawn, element, fill } from "../../dom.js";

const WIDTH = 300;
const HEIGHT = 84;
const TOP = 8;
let number = 0;

/**
 * A chart of what `add(at, values)` has put in: `at` in milliseconds, one value for each of `lines`, null for none (it
 * leaves a gap). It shows the last `seconds`. `lines` are `{ name, format }`. The figures of now are written below it.
 */
export function chart(title, lines, { seconds }) {
  const samples = [];
  const id = `chart-${(number += 1)}`;
  const description = drawn("desc", { id: `${id}-desc` });
  const scale = drawn("text", { class: "scale", x: 2, y: 9 });
  const paths = lines.map((_, at) => drawn("path", { class: `line line-${at}` }));
  const heading = drawn("title", { id: `${id}-title` }, title);
  const svg = drawn(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-labelledby": `${id}-title ${id}-desc`,
    },
    heading,
    description,
    drawn("path", { class: "ground", d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
    paths,
    scale,
  );
  const figures = element("figcaption", {});

  function add(at, values) {
    samples.push({ at, values });
    while (samples[0].at < at - seconds * 1000) samples.shift();
    const highest = niceAbove(Math.max(0, ...samples.flatMap((sample) => sample.values.filter((each) => each !== null))));
    paths.forEach((path, line) => path.setAttribute("d", track(samples, line, { until: at, seconds, highest })));
    scale.textContent = highest > 0 ? lines[0].format(highest) : "";
    const latest = lines.map(({ name, format }, line) => ({ name, text: written(format, last(samples, line)) }));
    description.textContent = `${latest.map(({ name, text }) => `${name} ${text}`).join(", ")}; at most ${
      scale.textContent || "nothing"
    } in the last ${seconds / 60} minutes.`;
    fill(figures, latest.map(({ name, text }, line) => element(`span.key.line-${line}`, {}, `${name} ${text}`)));
  }
  return { element: element("figure", {}, svg, figures), add };
}

function track(samples, line, { until, seconds, highest }) {
  const x = (at) => (WIDTH * (1 - (until - at) / (seconds * 1000))).toFixed(1);
  const y = (value) => (HEIGHT - 2 - (highest === 0 ? 0 : (value / highest) * (HEIGHT - 2 - TOP))).toFixed(1);
  let isDrawing = false;
  return samples
    .map(({ at, values }) => {
      const value = values[line];
      // A point that has no neighbour is a dot: a line of no length with round ends.
      const step = value === null ? "" : `${isDrawing ? "L" : "M"}${x(at)} ${y(value)}${isDrawing ? "" : "h0"}`;
      isDrawing = value !== null;
      return step;
    })
    .join("");
}

/** 1, 2 or 5 times a power of ten. */
function niceAbove(value) {
  if (value <= 0) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function last(samples, line) {
  return samples.findLast((sample) => sample.values[line] !== null)?.values[line] ?? null;
}

const written = (format, value) => (value === null ? "none yet" : format(value));
