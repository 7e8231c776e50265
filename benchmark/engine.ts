/**
 * CPU microseconds that the engine takes for a message and for a connection, on a transport in memory: the least of some
 * rounds, since noise only adds. A connection is negotiation, connect, helo and quit; a message is `packets.ts`.
 *
 * npm run bench:engine [-- --rounds 20 --count 2000 --against DIR --guard]
 *
 * With `--against` the sources of another checkout are measured too, round by round in turn, each in a process of its own.
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
const checkouts = values.against === undefined ? [here] : [here, Path.resolve(values.against)]
for (const checkout of checkouts) {
  if (!Fs.existsSync(Path.join(checkout, "package.json"))) fail(`--against: ${checkout} is not a checkout`)
}
if (values.guard && values.against !== undefined) fail("--guard and --against exclude each other")
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

const start = async (checkout: string): Promise<ChildProcess> => {
  const child = fork(new URL("./servers/engine.ts", import.meta.url), {
    execArgv: [...process.execArgv, "--import", new URL("./servers/checkout.ts", import.meta.url).href],
    env: { ...process.env, BENCHMARK_CHECKOUT: checkout },
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  await next(child)
  return child
}

/** One round of a child: CPU microseconds a unit. */
const measure = async (child: ChildProcess, round: Round): Promise<number> => {
  child.send(round)
  return Number(await next(child))
}

type Measured = Omit<Round, "count">

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
        const microseconds = await measure(child, { ...asked, count })
        least[index]![cell] = Math.min(least[index]![cell]!, microseconds)
      }
    }
  }
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
  console.log(`CPU µs, least of ${rounds} rounds of ${count}; Node ${process.version}`)
  const row = (name: string, columns: ReadonlyArray<string>): void =>
    console.log(`  ${name.padEnd(44)}${columns.map((column) => column.padStart(10)).join("")}`)
  row("", checkouts.length === 1 ? ["here"] : ["here", "against", "ratio"])
  for (const [cell, { filters, unit }] of cells.entries()) {
    const [ours, theirs] = least.map((checkout) => checkout[cell]!)
    const columns = theirs === undefined ? [ours!] : [ours!, theirs, ours! / theirs]
    row(`${names[unit]}, ${filters} filter${filters === "one" ? "" : "s"}`, columns.map((column) => column.toFixed(2)))
  }
}

// --- the guard

/**
 * What was reached, in multiples of the calibration: lower it when the engine gets faster. Only ratios are compared, so a slow
 * machine makes no difference, and only the least of the rounds, so a busy one makes none either.
 */
const reached = { message: 1.3, connection: 0.76 } as const
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

const children = await Promise.all(checkouts.map(start))
process.once("exit", () => children.forEach((child) => child.kill()))
await (values.guard ? guard(children) : compare(children))
for (const child of children) child.kill()
