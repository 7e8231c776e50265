/** The plots of a run, each as SVG for light and for dark pages. */
import * as Plot from "@observablehq/plot"
import { parseHTML } from "linkedom"
import { type Results, summarize } from "./results.ts"
import { titleOf } from "./tables.ts"

/** A page's colours. */
interface Theme {
  readonly name: "light" | "dark"
  readonly ink: string
  readonly accent: string
  readonly other: string
  readonly scheme: ReadonlyArray<string>
}

const themes: ReadonlyArray<Theme> = [
  {
    name: "light",
    ink: "#24292f",
    accent: "#0969da",
    other: "#8c959f",
    scheme: ["#6e7781", "#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989"]
  },
  {
    name: "dark",
    ink: "#e6edf3",
    accent: "#58a6ff",
    other: "#6e7681",
    scheme: ["#8b949e", "#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#f778ba"]
  }
]

/** A plot in one theme; `undefined` if the run has not measured what it shows. */
type Draw = (results: Results, theme: Theme) => Plot.PlotOptions | undefined

const variants = new Set([
  "effect-milter-log",
  "effect-milter-default-log",
  "effect-milter-five",
  "effect-milter-unmetered"
])

/** What each server reached in some cells; variants of ours are left out. */
const points = (results: Results, names: (name: string) => boolean) =>
  results.cells.filter(({ cell }) => names(cell.name)).flatMap(({ cell, measured }) =>
    measured.flatMap(({ samples, server }) => {
      const summary = summarize(samples)
      return summary === undefined || variants.has(server)
        ? []
        : [{ ...summary, cell, load: cell.load, server: titleOf(results.servers, server) }]
    })
  )

const order = (results: Results): ReadonlyArray<string> =>
  results.servers.filter(({ name }) => !variants.has(name)).map(({ title }) => title)

const colours = (results: Results, { scheme }: Theme): Plot.ScaleOptions => ({
  domain: [...order(results)],
  range: [...scheme],
  legend: false
})

/** CPU time a message at one and at fifty messages a connection, a bar for each server. */
const cpu: Draw = (results, { accent, ink, other }) => {
  const bars = points(results, (name) => name === "base-1" || name === "base-50")
  if (bars.length === 0) return undefined
  return {
    height: 60 + 46 * order(results).length,
    marginLeft: 165,
    marginRight: 130,
    x: { label: "CPU µs of the server for a message", grid: true },
    fy: { label: null, domain: [...order(results)] },
    y: { axis: null, domain: ["50 messages a connection", "1 message a connection"] },
    marks: [
      Plot.barX(bars, {
        x: "cpuLeast",
        fy: "server",
        y: (bar: { cell: { title: string } }) => bar.cell.title,
        fill: (bar: { server: string }) => bar.server === "effect-milter" ? accent : other,
        fillOpacity: (bar: { cell: { name: string } }) => bar.cell.name === "base-50" ? 1 : 0.6
      }),
      Plot.text(bars, {
        x: "cpuLeast",
        fy: "server",
        y: (bar: { cell: { title: string } }) => bar.cell.title,
        text: (bar: { cpuLeast: number; load: { perConnection: number } }) =>
          `${Math.round(bar.cpuLeast)}  (${bar.load.perConnection} a connection)`,
        textAnchor: "start",
        dx: 4,
        fill: ink
      })
    ]
  }
}

/** Moves labels apart that would stand on each other, from the lowest up. */
const apart: Plot.InitializerFunction = (data, facets, channels, scales) => {
  // A channel that has been read is an array of its values.
  const values = channels["y"]!.value as unknown as ArrayLike<number>
  const y = Float64Array.from(values, (value) => scales.y!(value) as number)
  const lineHeight = 12
  for (const facet of facets) {
    const upwards = [...facet].toSorted((one, two) => y[two]! - y[one]!)
    for (const [at, index] of upwards.entries()) {
      if (at > 0) y[index] = Math.min(y[index]!, y[upwards[at - 1]!]! - lineHeight)
    }
  }
  return { data, facets, channels: { y: { value: y } } }
}

/** Lines with the name of the server at their right end. */
const lines = (
  data: ReadonlyArray<object>,
  options: { readonly x: string; readonly y: string }
): Array<Plot.Markish> => [
  Plot.line([...data], { ...options, stroke: "server", sort: options.x }),
  Plot.dot([...data], { ...options, fill: "server", r: 2.5 }),
  Plot.text(
    [...data],
    Plot.initializer(
      Plot.selectLast<Plot.TextOptions>({
        ...options,
        z: "server",
        text: "server",
        fill: "server",
        textAnchor: "start",
        dx: 6,
        sort: options.x
      }),
      apart
    )
  )
]

/** Messages a second from one connection to ten thousand. */
const connections: Draw = (results, theme) => {
  const data = points(results, (name) => name.startsWith("connections-")).map((point) => ({
    ...point,
    connections: point.load.connections
  }))
  if (data.length === 0) return undefined
  return {
    height: 360,
    marginRight: 165,
    x: {
      type: "log",
      label: "connections at a time",
      grid: true,
      tickFormat: (count: number) => count.toLocaleString("en-US")
    },
    y: { label: "messages a second, server and driver on one CPU", grid: true, zero: true },
    color: colours(results, theme),
    marks: lines(data, { x: "connections", y: "rate" })
  }
}

/** CPU time over the size of the body: straight lines, if the cost is linear. */
const body: Draw = (results, theme) => {
  const data = points(results, (name) => name === "base-50" || name.startsWith("body-")).map((point) => ({
    ...point,
    kilobytes: point.load.body / 1024
  }))
  if (new Set(data.map(({ kilobytes }) => kilobytes)).size < 2) return undefined
  return {
    height: 360,
    marginLeft: 60,
    marginRight: 165,
    x: {
      type: "log",
      label: "size of the body in kB",
      grid: true,
      tickFormat: (size: number) => size.toLocaleString("en-US")
    },
    y: {
      type: "log",
      label: "CPU µs of the server for a message",
      grid: true,
      tickFormat: (time: number) => time.toLocaleString("en-US")
    },
    color: colours(results, theme),
    marks: lines(data, { x: "kilobytes", y: "cpuLeast" })
  }
}

/** CPU time over the number of header fields. */
const headers: Draw = (results, theme) => {
  const data = points(results, (name) => name === "base-50" || name.startsWith("headers-")).map((point) => ({
    ...point,
    headers: point.load.headers
  }))
  if (new Set(data.map(({ headers }) => headers)).size < 2) return undefined
  return {
    height: 360,
    marginLeft: 60,
    marginRight: 165,
    x: { label: "header fields", grid: true },
    y: { label: "CPU µs of the server for a message", grid: true, zero: true },
    color: colours(results, theme),
    marks: lines(data, { x: "headers", y: "cpuLeast" })
  }
}

/** Memory of our server over a long run. */
const course: Draw = ({ course }, { accent, other }) => {
  if (course.length === 0) return undefined
  const megabytes = course.flatMap(({ heap, messages, resident }) => [
    { messages, server: "heap after collection", value: heap / 1_048_576 },
    { messages, server: "resident", value: resident / 1_048_576 }
  ])
  return {
    height: 240,
    marginRight: 165,
    x: { label: "messages", grid: true, tickFormat: (count: number) => count.toLocaleString("en-US") },
    y: { label: "MB", grid: true, zero: true },
    color: { domain: ["heap after collection", "resident"], range: [accent, other] },
    marks: lines(megabytes, { x: "messages", y: "value" })
  }
}

const draws: Readonly<Record<string, { readonly draw: Draw; readonly text: string }>> = {
  cpu: { draw: cpu, text: "CPU microseconds for a message, by server" },
  connections: { draw: connections, text: "Messages a second over the number of connections" },
  body: { draw: body, text: "CPU microseconds for a message over the size of its body" },
  headers: { draw: headers, text: "CPU microseconds for a message over the number of its header fields" },
  course: { draw: course, text: "Memory of the server over the messages of a long run" }
}

/** A file of a plot. */
export interface PlotFile {
  readonly plot: string
  readonly text: string
  readonly theme: Theme["name"]
  readonly svg: string
}

const render = (options: Plot.PlotOptions, { ink }: Theme): string => {
  const { document } = parseHTML("<html><body></body></html>")
  const svg = Plot.plot({
    width: 720,
    ...options,
    document,
    style: { color: ink, background: "transparent", fontFamily: "system-ui, sans-serif", fontSize: "12px" },
    marks: options.marks ?? []
  })
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg")
  return `${svg.outerHTML}\n`
}

/** All plots that the run has figures for, in both themes. */
export const plots = (results: Results): ReadonlyArray<PlotFile> =>
  Object.entries(draws).flatMap(([plot, { draw, text }]) =>
    themes.flatMap((theme) => {
      const options = draw(results, theme)
      return options === undefined ? [] : [{ plot, text, theme: theme.name, svg: render(options, theme) }]
    })
  )
