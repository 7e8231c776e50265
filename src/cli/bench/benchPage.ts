/** The report of `effect-milter bench` as one HTML file: plots inline, no script, nothing loaded from elsewhere. */
import type { Figures } from "./benchLoad.ts"
import { figure, latencyColumns, latencyMeaning, outcomes, ratios, type Report, summary } from "./benchReport.ts"

const escapes: { readonly [character: string]: string } = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;" }
const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => escapes[character]!)

const width = 720
const height = 260
const margin = { left: 56, right: 16, top: 12, bottom: 36 }
const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom }

const svg = (title: string, content: string): string =>
  `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(title)}">${content}</svg>`

const label = (x: number, y: number, anchor: "start" | "middle" | "end", text: string): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escape(text)}</text>`

/** Horizontal lines with their values, from 0 to `most`. */
const grid = (most: number, show: (value: number) => string): string =>
  [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const y = margin.top + inner.height * (1 - part)
    return `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${y}" y2="${y}"/>${
      label(margin.left - 6, y + 4, "end", show(part * most))
    }`
  }).join("")

const bars = ({ latencies }: Figures): string => {
  const all = latencies.bars()
  const most = Math.max(...all.map(({ share }) => share))
  const step = inner.width / all.length
  const columns = all.map(({ from, share, to }, index) => {
    const x = margin.left + index * step
    const tall = share / most * inner.height
    const title = `${figure(from)} to ${figure(to)} ms: ${(share * 100).toFixed(1)} %`
    const edge = index % Math.ceil(all.length / 10) === 0 ? label(x, height - 18, "middle", figure(from)) : ""
    return `<rect x="${(x + 1).toFixed(1)}" y="${(margin.top + inner.height - tall).toFixed(1)}" width="${
      Math.max(1, step - 2).toFixed(1)
    }" height="${tall.toFixed(1)}"><title>${title}</title></rect>${edge}`
  })
  return svg(
    "Histogram of latencies",
    `${grid(most, (share) => `${(share * 100).toFixed(0)} %`)}${columns.join("")}${
      label(width / 2, height - 2, "middle", "latency in ms, ranges of equal factor")
    }`
  )
}

/** Percentiles on a scale that gives each further nine the same room. */
const curve = (all: Report["measured"]): string => {
  const nines = Array.from({ length: 61 }, (_, index) => index / 20)
  const most = Math.max(...all.map(({ figures }) => figures.latencies.percentile(99.9)))
  const lines = all.map(({ figures }, index) => {
    const points = nines.map((nine) => {
      const value = figures.latencies.percentile(100 - 100 / 10 ** nine || 0.001)
      const x = margin.left + nine / 3 * inner.width
      return `${x.toFixed(1)},${(margin.top + inner.height * (1 - Math.min(1, value / most))).toFixed(1)}`
    })
    return `<polyline class="line${index}" points="${points.join(" ")}"/>`
  })
  const ticks = [0, 50, 90, 99, 99.9].map((percent) =>
    label(margin.left + Math.log10(100 / (100 - percent)) / 3 * inner.width, height - 18, "middle", `${percent} %`)
  )
  return svg(
    "Latency by percentile",
    `${grid(most, figure)}${lines.join("")}${ticks.join("")}${
      label(width / 2, height - 2, "middle", "share of the messages that were answered within so many ms")
    }`
  )
}

const row = (cells: ReadonlyArray<string>, tag: "td" | "th"): string =>
  `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`

const style = `:root { color-scheme: light dark; --ink: #24292f; --grid: #d0d7de; --one: #0969da; --two: #bc4c00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --grid: #30363d; --one: #58a6ff; --two: #f0883e } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 760px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse } th, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid var(--grid) }
th:first-child, td:first-child { text-align: left }
svg { width: 100%; height: auto } text { fill: var(--ink); font-size: 11px } .grid { stroke: var(--grid) }
rect { fill: var(--one) } section + section rect { fill: var(--two) }
polyline { fill: none; stroke-width: 2 } .line0 { stroke: var(--one) } .line1 { stroke: var(--two) }
.failure { border-left: 4px solid #cf222e; padding-left: 0.8em }`

/** The page; `date` is the day of the run. */
export const page = (report: Report, date: string): string => {
  const { failure, load, size } = report
  const measured = report.measured.filter(({ figures }) => figures.messages > 0)
  const names = measured[0] === undefined ? [] : latencyColumns(measured[0].figures).map(([name]) => name)
  const compared = ratios(measured)
  return [
    "<!doctype html>",
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
    `<title>effect-milter bench</title><style>${style}</style></head><body>`,
    "<h1>effect-milter bench</h1>",
    `<p>${escape(date)}; body of ${size.toLocaleString("en-US")} bytes; ${
      load.rate === undefined ? "as fast as the messages were answered" : `${figure(load.rate)} messages a second`
    }.</p>`,
    ...(failure === undefined ? [] : [`<p class="failure">${escape(failure)}</p>`]),
    `<table>${row(["filter", "messages/s", ...names.map((name) => `${name} ms`)], "th")}`,
    ...measured.map(({ figures, spec }) =>
      row([spec, figure(figures.rate), ...latencyColumns(figures).map(([, value]) => figure(value))], "td")
    ),
    ...(compared === undefined
      ? []
      : [
        row([
          "ratio, second to first",
          compared[0]![1].toFixed(2),
          "",
          ...compared.slice(1).map(([, value]) => value.toFixed(2)),
          ""
        ], "td")
      ]),
    `</table><p>${latencyMeaning(load)}.</p>`,
    ...(measured.length === 0 ? [] : [`<h2>Latency by percentile</h2>${curve(measured)}`]),
    ...measured.map((one) =>
      `<section><h2>${escape(one.spec)}</h2><p>${escape(summary(one, load))}; ${escape(outcomes(one.figures))}.</p>${
        bars(one.figures)
      }</section>`
    ),
    "</body></html>",
    ""
  ].join("\n")
}
