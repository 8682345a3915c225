/* Small line charts, in SVG. */

import { svg, element, replaceChildren } from "../../dom.js";

const WIDTH = 300;
const HEIGHT = 84;
const TOP = 8;
let number = 0;

/**
 * A line chart of the last `seconds`. `lines` are `{ name, format }`. `add(at, values)` adds a sample: `at` in
 * milliseconds, one value for each line, null leaves a gap. The current values are shown below the chart.
 */
export function chart(title, lines, { seconds }) {
  const samples = [];
  const id = `chart-${(number += 1)}`;
  const description = svg("desc", { id: `${id}-desc` });
  const scale = svg("text", { class: "scale", x: 2, y: 9 });
  const paths = lines.map((_, at) => svg("path", { class: `line line-${at}` }));
  const heading = svg("title", { id: `${id}-title` }, title);
  const image = svg(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-labelledby": `${id}-title ${id}-desc`,
    },
    heading,
    description,
    svg("path", { class: "ground", d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
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
    const latest = lines.map(({ name, format }, line) => ({ name, text: formatted(format, last(samples, line)) }));
    description.textContent = `${latest.map(({ name, text }) => `${name} ${text}`).join(", ")}; at most ${
      scale.textContent || "nothing"
    } in the last ${seconds / 60} minutes.`;
    replaceChildren(figures, latest.map(({ name, text }, line) => element(`span.key.line-${line}`, {}, `${name} ${text}`)));
  }
  return { element: element("figure", {}, image, figures), add };
}

function track(samples, line, { until, seconds, highest }) {
  const x = (at) => (WIDTH * (1 - (until - at) / (seconds * 1000))).toFixed(1);
  const y = (value) => (HEIGHT - 2 - (highest === 0 ? 0 : (value / highest) * (HEIGHT - 2 - TOP))).toFixed(1);
  let isDrawing = false;
  return samples
    .map(({ at, values }) => {
      const value = values[line];
      // A point without neighbours is a dot: a line of length zero with round ends.
      const step = value === null ? "" : `${isDrawing ? "L" : "M"}${x(at)} ${y(value)}${isDrawing ? "" : "h0"}`;
      isDrawing = value !== null;
      return step;
    })
    .join("");
}

/** Round up to 1, 2 or 5 times a power of ten. */
function niceAbove(value) {
  if (value <= 0) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}

function last(samples, line) {
  return samples.findLast((sample) => sample.values[line] !== null)?.values[line] ?? null;
}

const formatted = (format, value) => (value === null ? "none yet" : format(value));
