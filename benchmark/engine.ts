/**
 * CPU microseconds that the engine takes for a message and for a connection, on a transport in memory: the least of some
 * rounds, since noise only adds. A connection is negotiation, connect, helo and quit; a message is `packets.ts`.
 *
 * npm run bench:engine [-- --rounds 20 --count 2000 --against DIR]
 *
 * With `--against` the sources of another checkout are measured too, round by round in turn, each in a process of its own.
 */
import { type ChildProcess, fork } from "node:child_process"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import type { Round } from "./servers/engine.ts"

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    count: { type: "string", default: "2000" },
    against: { type: "string" }
  }
})
const rounds = Number(values.rounds)
const count = Number(values.count)
const here = Path.resolve(import.meta.dirname, "..")
const checkouts = values.against === undefined ? [here] : [here, Path.resolve(values.against)]
/** Rounds that only warm up. */
const warmUp = 5

const cells = (["one", "five"] as const).flatMap((filters) =>
  (["message", "connection", "both"] as const).map((unit): Round => ({ filters, unit, count }))
)

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

const children = await Promise.all(checkouts.map(start))
const least = children.map(() => cells.map(() => Infinity))
for (let round = -warmUp; round < rounds; round++) {
  for (const [cell, ask] of cells.entries()) {
    for (const [checkout, child] of children.entries()) {
      child.send(ask)
      const microseconds = Number(await next(child))
      if (round >= 0) least[checkout]![cell] = Math.min(least[checkout]![cell]!, microseconds)
    }
  }
}
for (const child of children) child.kill()

console.log(`CPU µs, least of ${rounds} rounds of ${count}; Node ${process.version}`)
const row = (name: string, columns: ReadonlyArray<string>): void =>
  console.log(`  ${name.padEnd(44)}${columns.map((column) => column.padStart(10)).join("")}`)
row("", checkouts.length === 1 ? ["here"] : ["here", "against", "ratio"])
const names = { message: "a message", connection: "a connection", both: "a connection with a message" }
for (const [cell, { filters, unit }] of cells.entries()) {
  const [ours, theirs] = least.map((checkout) => checkout[cell]!)
  const columns = theirs === undefined ? [ours!] : [ours!, theirs, ours! / theirs]
  row(`${names[unit]}, ${filters} filter${filters === "one" ? "" : "s"}`, columns.map((column) => column.toFixed(2)))
}
