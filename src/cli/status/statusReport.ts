/** What `status` shows of a running `serve`, from its pages /status and /metrics. Pure. */
import * as Schema from "effect/Schema"
import { showInvisible } from "../../internal/bytes/invisible.ts"
import type { Style } from "../terminal/style.ts"

const Server = Schema.Struct({
  filter: Schema.String,
  addresses: Schema.Array(Schema.String),
  state: Schema.String,
  sessions: Schema.Finite
})

const Failure = Schema.Struct({
  time: Schema.String,
  filter: Schema.String,
  stage: Schema.optionalKey(Schema.String),
  queueId: Schema.optionalKey(Schema.String),
  error: Schema.String
})

/** The page /status. */
export const Status = Schema.Struct({
  // Not there in a program with `NodeMilterServer.workers` that does not tell its version.
  version: Schema.optionalKey(Schema.String),
  generation: Schema.Finite,
  workers: Schema.Array(Schema.Struct({
    worker: Schema.Finite,
    pid: Schema.optionalKey(Schema.Finite),
    version: Schema.optionalKey(Schema.String),
    leaves: Schema.Boolean,
    // Not there for one that has just ended, nor in a program of an earlier version.
    residentBytes: Schema.optionalKey(Schema.Finite),
    cpuSeconds: Schema.optionalKey(Schema.Finite),
    servers: Schema.Array(Server)
  })),
  // Not there in a program of an earlier version.
  failures: Schema.optionalKey(Schema.Array(Failure))
})

export type Status = typeof Status.Type

interface Sample {
  readonly name: string
  readonly labels: { readonly [label: string]: string }
  readonly value: number
}

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/
const label = /\b(\w+)="((?:[^"\\]|\\.)*)"/g

/** The samples of a page in Prometheus' text format. */
export const samplesOf = (text: string): ReadonlyArray<Sample> =>
  text.split("\n").flatMap((each) => {
    const [, name, labels = "", value] = line.exec(each) ?? []
    if (name === undefined || value === undefined || Number.isNaN(Number(value))) return []
    const found = Array.from(labels.matchAll(label), ([, key, text]) => [
      key!,
      text!.replace(/\\(.)/g, (_, character: string) => character === "n" ? "\n" : character)
    ])
    return [{ name, labels: Object.fromEntries(found), value: Number(value) }]
  })

/** Text of the server on one line; another program may answer on that port. */
const oneLine = (text: string): string => showInvisible(text.replaceAll("\n", "\\n"))

/** The sum of the samples of a name, by the values of some labels. */
const sums = (
  samples: ReadonlyArray<Sample>,
  name: string,
  ...by: ReadonlyArray<string>
): ReadonlyMap<string, number> => {
  const found = new Map<string, number>()
  for (const sample of samples) {
    if (sample.name !== name) continue
    const key = by.map((label) => sample.labels[label] ?? "").join(" ")
    found.set(key, (found.get(key) ?? 0) + sample.value)
  }
  return found
}

/** `rcpt reject 3, mail tempFail 1`: the largest first, without zeros. */
const listed = (counts: ReadonlyMap<string, number>, most: number): string | undefined => {
  const entries = [...counts].filter(([, count]) => count > 0).toSorted(([, one], [, other]) => other - one)
  return entries.length === 0
    ? undefined
    : entries.slice(0, most).map(([name, count]) => `${oneLine(name)} ${count}`).join(", ")
}

/** The bound below which 95 of 100 values of a histogram are, for each value of a label; the slowest first. */
const slowest = (
  samples: ReadonlyArray<Sample>,
  name: string,
  by: string
): ReadonlyArray<readonly [string, number]> => {
  const buckets = new Map<string, Map<number, number>>()
  for (const { labels, name: found, value } of samples) {
    if (found !== `${name}_bucket`) continue
    const key = labels[by] ?? ""
    const bound = labels["le"] === "+Inf" ? Infinity : Number(labels["le"])
    const counts = buckets.get(key) ?? new Map<number, number>()
    buckets.set(key, counts.set(bound, (counts.get(bound) ?? 0) + value))
  }
  return [...buckets].flatMap(([key, counts]) => {
    const sorted = [...counts].toSorted(([one], [other]) => one - other)
    const all = sorted.at(-1)?.[1] ?? 0
    const bound = sorted.find(([, count]) => count >= all * 0.95)?.[0]
    return all === 0 || bound === undefined ? [] : [[key, bound] as const]
  }).toSorted(([, one], [, other]) => other - one)
}

const seconds = (bound: number): string => bound === Infinity ? "more than the last bound" : `${bound} s`

const failureLine = ({ error, filter, queueId, stage, time }: typeof Failure.Type): string =>
  oneLine(
    `${time} ${queueId ?? "no queue id"}, ${filter}${stage === undefined ? "" : ` at ${stage}`}: ${error}`
  )

/** The report for a terminal. */
export const report = (
  { failures = [], generation, version, workers }: Status,
  isReady: boolean,
  samples: ReadonlyArray<Sample>,
  style: Style
): string => {
  const messages = listed(sums(samples, "milter_messages_total", "outcome"), 10)
  const verdicts = listed(sums(samples, "milter_verdicts_total", "stage", "verdict"), 5)
  const errors = listed(sums(samples, "milter_errors_total", "error"), 5)
  const hooks = slowest(samples, "milter_hook_duration_seconds", "stage").slice(0, 3)
  const lines = [
    `${isReady ? style.green("takes connections") : style.red("takes no connections")}, generation ${generation}${
      version === undefined ? "" : `, version ${oneLine(version)}`
    }`,
    ...workers.flatMap(({ cpuSeconds, leaves, pid, residentBytes, servers, version: own = version, worker }) => [
      [
        `worker ${worker}, pid ${pid ?? "?"}`,
        own === undefined || own === version ? "" : style.yellow(`, version ${oneLine(own)}`),
        leaves ? style.yellow(", leaves") : "",
        residentBytes === undefined ? "" : `: ${(residentBytes / 1e6).toFixed(0)} MB`,
        cpuSeconds === undefined ? "" : `, ${cpuSeconds.toFixed(1)} s of CPU time`
      ].join(""),
      ...servers.map(({ addresses, filter, sessions, state }) =>
        oneLine(
          `  ${filter}: ${state} on ${addresses.join(", ")}, ${sessions} ${sessions === 1 ? "session" : "sessions"}`
        )
      )
    ]),
    `messages: ${messages ?? "none yet"}`,
    ...(verdicts === undefined ? [] : [`verdicts: ${verdicts}`]),
    ...(hooks.length === 0
      ? []
      : [
        `slowest hooks, 95 % within: ${hooks.map(([stage, bound]) => `${oneLine(stage)} ${seconds(bound)}`).join(", ")}`
      ]),
    ...(errors === undefined ? [] : [style.red(`errors: ${errors}`)]),
    ...(failures.length === 0 ? [] : ["last failures:", ...failures.map((failure) => `  ${failureLine(failure)}`)])
  ]
  return lines.map((each) => `${each}\n`).join("")
}
