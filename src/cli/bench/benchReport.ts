/** What `effect-milter bench` prints: figures, a histogram, ratios; as text or as JSON. */
import type { Style } from "../terminal/style.ts"
import { percentiles } from "./benchLatency.ts"
import type { Figures, Load } from "./benchLoad.ts"

/** One filter and what was measured with it. */
export interface Measured {
  readonly spec: string
  readonly figures: Figures
}

/** All that a report tells. */
export interface Report {
  readonly load: Load
  /** Bytes of the body of a message. */
  readonly size: number
  readonly measured: ReadonlyArray<Measured>
  /** Why the load ended before its last message. */
  readonly failure: string | undefined
}

/** A number with three digits that count. */
export const figure = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)

export const count = (value: number, noun: string): string =>
  `${value.toLocaleString("en-US")} ${noun}${value === 1 ? "" : "s"}`

/** What the latency of a message is. */
export const latencyMeaning = ({ rate }: Load): string =>
  rate === undefined
    ? "latency, from MAIL to the reply at the end of the message"
    : "latency, from the time at which the message was due to the reply at its end"

/** The columns of latency, in milliseconds. */
export const latencyColumns = ({ latencies }: Figures): ReadonlyArray<readonly [name: string, value: number]> => [
  ["min", latencies.min],
  ...percentiles.map((percent) => [`p${percent}`, latencies.percentile(percent)] as const),
  ["max", latencies.max]
]

const outcomeWords = [
  ["Accepted", "accepted"],
  ["Rejected", "rejected"],
  ["TempFailed", "refused for now"],
  ["Discarded", "discarded"]
] as const

/** How many messages ended how. */
export const outcomes = ({ outcomes }: Figures): string =>
  outcomeWords.filter(([outcome]) => outcomes[outcome] > 0)
    .map(([outcome, words]) => `${outcomes[outcome].toLocaleString("en-US")} ${words}`)
    .join(", ")

/** What was sent and how fast it was answered. */
export const summary = ({ figures, spec }: Measured, { connections }: Load): string =>
  `${spec}: ${count(figures.messages, "message")} in ${figure(figures.milliseconds / 1000)} s over ${
    count(connections, "connection")
  }, ${figure(figures.rate)} a second`

const barWidth = 40

const histogram = ({ latencies }: Figures, { cyan, dim }: Style): ReadonlyArray<string> => {
  const bars = latencies.bars()
  const most = Math.max(...bars.map(({ share }) => share))
  const labels = bars.map(({ from, to }) => `${figure(from)} to ${figure(to)}`)
  const width = Math.max(...labels.map((label) => label.length))
  return bars.map(({ share }, index) => {
    const length = Math.round(share / most * barWidth)
    // A bar that is too short to be seen is a dot.
    const bar = share > 0 && length === 0 ? "·" : "█".repeat(length)
    return `  ${dim(labels[index]!.padStart(width))}  ${cyan(bar)}${
      share === 0 ? "" : ` ${(share * 100).toFixed(1)} %`
    }`
  })
}

const latency = (figures: Figures): string =>
  latencyColumns(figures).map(([name, value]) => `${name} ${figure(value)}`).join("  ")

/** The second filter's figures divided by those of the first. */
export const ratios = (
  [first, second]: ReadonlyArray<Measured>
): ReadonlyArray<readonly [name: string, value: number]> | undefined => {
  if (first === undefined || second === undefined) return undefined
  if (first.figures.messages === 0 || second.figures.messages === 0) return undefined
  const ours = latencyColumns(first.figures)
  return [
    ["messages a second", second.figures.rate / first.figures.rate],
    ...latencyColumns(second.figures).slice(1, -1).map(([name, value], index) =>
      [name, value / ours[index + 1]![1]] as const
    )
  ]
}

/** The report for people. */
export const text = (report: Report, style: Style): string => {
  const { load, measured } = report
  const blocks = measured.filter(({ figures }) => figures.messages > 0).map((one) =>
    [
      style.bold(summary(one, load)),
      `  outcome: ${outcomes(one.figures)}`,
      `  ${latencyMeaning(load)}, in ms:`,
      `  ${latency(one.figures)}`,
      ...histogram(one.figures, style)
    ].join("\n")
  )
  const compared = ratios(measured)
  if (compared !== undefined) {
    blocks.push(
      `${style.bold(`${measured[1]!.spec} divided by ${measured[0]!.spec}`)}\n  ${
        compared.map(([name, value]) => `${name} ${value.toFixed(2)}`).join("  ")
      }`
    )
  }
  return `${blocks.join("\n\n")}\n`
}

const rounded = (value: number): number => Number(value.toPrecision(6))

/** The report for programs. */
export const json = ({ failure, load, measured, size }: Report): string =>
  `${
    JSON.stringify(
      {
        load: { ...load, rate: load.rate ?? null, size },
        complete: failure === undefined,
        ...(failure === undefined ? {} : { failure }),
        filters: measured.map(({ figures, spec }) => ({
          spec,
          messages: figures.messages,
          seconds: rounded(figures.milliseconds / 1000),
          messagesPerSecond: rounded(figures.rate),
          outcomes: figures.outcomes,
          latencyMilliseconds: Object.fromEntries(
            [...latencyColumns(figures), ["mean", figures.latencies.mean] as const].map(([name, value]) => [
              name,
              rounded(value)
            ])
          ),
          histogram: figures.latencies.bars().map(({ from, share, to }) => ({
            fromMilliseconds: rounded(from),
            toMilliseconds: rounded(to),
            share
          }))
        })),
        ...(ratios(measured) === undefined
          ? {}
          : { ratios: Object.fromEntries(ratios(measured)!.map(([name, value]) => [name, rounded(value)])) })
      },
      undefined,
      2
    )
  }\n`
