/**
 * CPU microseconds that the engine takes for a message and for a connection, on a transport in memory: the least of some
 * rounds, since noise only adds. A connection is negotiation, connect, helo and quit; a message is `packets.ts`. And the
 * kilobytes that are allocated for each.
 *
 * npm run bench:engine [-- --rounds 20 --count 2000 --against DIR --without-metrics --guard]
 *
 * With `--against` the sources of another checkout are measured too, round by round in turn, each in a process of its own; with
 * `--without-metrics` the same sources, in a server that counts nothing.
 * With `--guard` the figures are compared to `servers/calibration.ts`, measured in the same process, and the program fails
 * if a ratio is over its limit.
 */
import { type ChildProcess, fork } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import type { Round } from "./servers/engine.ts"

const fail = (message: string): never => {
  console.error(`bench:engine: ${message}`)
  process.exit(1)
}

const options = {
  rounds: { type: "string", default: "20" },
  count: { type: "string", default: "2000" },
  against: { type: "string" },
  "without-metrics": { type: "boolean", default: false },
  guard: { type: "boolean", default: false }
} as const

const parsed = () => {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    return fail((error as Error).message.split(".")[0]!)
  }
}

const values = parsed()

const positive = (name: "rounds" | "count"): number => {
  const value = Number(values[name])
  return Number.isInteger(value) && value > 0 ? value : fail(`--${name}: expected a positive whole number`)
}

const rounds = positive("rounds")
const count = positive("count")
const here = Path.resolve(import.meta.dirname, "..")

/** A server to measure. */
interface Subject {
  /** The head of its column. */
  readonly title: string
  readonly checkout: string
  /** Modules to load before it. */
  readonly imports: ReadonlyArray<string>
}

const subjects: ReadonlyArray<Subject> = [
  { title: "here", checkout: here, imports: [] },
  ...values.against === undefined ? [] : [{ title: "against", checkout: Path.resolve(values.against), imports: [] }],
  ...values["without-metrics"] ? [{ title: "without", checkout: here, imports: ["withoutMetrics.ts"] }] : []
]
for (const { checkout } of subjects) {
  if (!Fs.existsSync(Path.join(checkout, "package.json"))) fail(`--against: ${checkout} is not a checkout`)
}
if (subjects.length > (values.guard ? 1 : 2)) fail("--against, --without-metrics and --guard exclude each other")
/** Rounds that only warm up. */
const warmUp = 5

// --- processes that measure

const next = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`a server ended with ${code}`))
    child.once("exit", onExit)
    child.once("message", (answer) => {
      child.off("exit", onExit)
      resolve(answer)
    })
  })

const start = async ({ checkout, imports }: Subject): Promise<ChildProcess> => {
  const preloaded = ["checkout.ts", ...imports].flatMap((file) => [
    "--import",
    new URL(`./servers/${file}`, import.meta.url).href
  ])
  const child = fork(new URL("./servers/engine.ts", import.meta.url), {
    execArgv: [...process.execArgv, "--expose-gc", ...preloaded],
    env: { ...process.env, BENCHMARK_CHECKOUT: checkout },
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  await next(child)
  return child
}

/** One round of a child: CPU microseconds or bytes a unit. */
const measure = async (child: ChildProcess, round: Round): Promise<number> => {
  child.send(round)
  return Number(await next(child))
}

type Measured = Pick<Round, "filters" | "unit">

/** Plays rounds of these cells in turn; lowers the least figures by what was measured. */
const play = async (
  children: ReadonlyArray<ChildProcess>,
  cells: ReadonlyArray<Measured>,
  least: ReadonlyArray<Array<number>>,
  rounds: number
): Promise<void> => {
  for (let round = 0; round < rounds; round++) {
    for (const [cell, asked] of cells.entries()) {
      for (const [index, child] of children.entries()) {
        const microseconds = await measure(child, { ...asked, measure: "time", count })
        least[index]![cell] = Math.min(least[index]![cell]!, microseconds)
      }
    }
  }
}

/** Units whose garbage fits into the memory of young objects. */
const few = 200

/** The kilobytes that a unit allocates; the most of some rounds, since a collection in the middle takes some away. */
const garbageOf = async (child: ChildProcess, cell: Measured): Promise<number> => {
  let most = 0
  for (let round = 0; round < 5; round++) {
    most = Math.max(most, await measure(child, { ...cell, measure: "garbage", count: few }))
  }
  return most / 1000
}

const unmeasured = (children: ReadonlyArray<unknown>, cells: ReadonlyArray<unknown>): ReadonlyArray<Array<number>> =>
  children.map(() => cells.map(() => Infinity))

const names = { message: "a message", connection: "a connection", both: "a connection with a message" }

// --- the figures

const compare = async (children: ReadonlyArray<ChildProcess>): Promise<void> => {
  const cells = (["one", "five"] as const).flatMap((filters) =>
    (["message", "connection", "both"] as const).map((unit) => ({ filters, unit }))
  )
  await play(children, cells, unmeasured(children, cells), warmUp)
  const least = unmeasured(children, cells)
  await play(children, cells, least, rounds)
  const garbage = await Promise.all(
    children.map(async (child) => {
      const kilobytes: Array<number> = []
      for (const cell of cells) kilobytes.push(await garbageOf(child, cell))
      return kilobytes
    })
  )
  console.log(`CPU µs, least of ${rounds} rounds of ${count}, and kB allocated; Node ${process.version}`)
  const row = (name: string, columns: ReadonlyArray<string>): void =>
    console.log(`  ${name.padEnd(44)}${columns.map((column) => column.padStart(10)).join("")}`)
  const titles = subjects.map(({ title }) => title)
  row("", titles.length === 1 ? ["here", "kB"] : [...titles, "ratio", "kB here", titles[1]!])
  for (const [cell, { filters, unit }] of cells.entries()) {
    const [ours, theirs] = least.map((subject) => subject[cell]!)
    const times = theirs === undefined ? [ours!] : [ours!, theirs, ours! / theirs]
    row(`${names[unit]}, ${filters} filter${filters === "one" ? "" : "s"}`, [
      ...times.map((time) => time.toFixed(2)),
      ...garbage.map((kilobytes) => kilobytes[cell]!.toFixed(1))
    ])
  }
}

// --- the guard

/**
 * What was reached, in multiples of the calibration: lower it when the engine gets faster. Only ratios are compared, so a slow
 * machine makes no difference, and only the least of the rounds, so a busy one makes none either.
 */
const reached = { message: 1.2, connection: 0.36 } as const
const allowance = 1.25
/** A busy machine gets more rounds before the engine is called slow. */
const mostRounds = 8 * rounds

const guard = async (children: ReadonlyArray<ChildProcess>): Promise<void> => {
  const units = ["message", "connection"] as const
  const cells: ReadonlyArray<Measured> = (["calibration", ...units] as const).map((unit) => ({ filters: "one", unit }))
  await play(children, cells, unmeasured(children, cells), warmUp)
  const least = unmeasured(children, cells)
  const ratios = (): ReadonlyArray<number> => least[0]!.slice(1).map((microseconds) => microseconds / least[0]![0]!)
  const isSlow = (): boolean => ratios().some((ratio, index) => ratio > reached[units[index]!] * allowance)
  let played = 0
  do {
    await play(children, cells, least, rounds)
    played += rounds
  } while (isSlow() && played < mostRounds)
  console.log(`CPU time in multiples of the calibration (${least[0]![0]!.toFixed(2)} µs), least of ${played} rounds`)
  for (const [index, ratio] of ratios().entries()) {
    const limit = reached[units[index]!] * allowance
    console.log(`  ${names[units[index]!].padEnd(20)}${ratio.toFixed(2)}, limit ${limit.toFixed(2)}`)
  }
  if (isSlow()) fail("the engine has become slower: see benchmark/README.md")
}

const children = await Promise.all(subjects.map(start))
process.once("exit", () => children.forEach((child) => child.kill()))
await (values.guard ? guard(children) : compare(children))
for (const child of children) child.kill()
