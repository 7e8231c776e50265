/**
 * Messages per second through effect-milter beside a bare node:net server on the same load, side by side in one run.
 *
 * npm run bench:session [-- --messages 6000 --rounds 5]
 */
import { type ChildProcess, fork } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import { run } from "./load.ts"

const { values } = parseArgs({
  options: { messages: { type: "string", default: "6000" }, rounds: { type: "string", default: "5" } }
})
const rounds = Number(values.rounds)
const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-bench-"))
/** Name, program and its arguments; the last one does without the log line of each message. */
const servers = {
  floor: ["floor"],
  logging: ["effectMilter"],
  quiet: ["effectMilter", "quiet"]
} as const
const names = ["floor", "logging", "quiet"] as const
const columns = [1, 50]

const start = (name: keyof typeof servers): Promise<ChildProcess> =>
  new Promise((resolve, reject) => {
    const [program, ...rest] = servers[name]
    const child = fork(new URL(`./servers/${program}.ts`, import.meta.url), [Path.join(folder, name), ...rest], {
      execArgv: process.execArgv,
      stdio: ["ignore", "ignore", "inherit", "ipc"]
    })
    child.once("message", () => resolve(child))
    child.once("exit", (code) => reject(new Error(`${name} exited with ${code}`)))
  })

const median = (numbers: ReadonlyArray<number>): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!

const children = await Promise.all(names.map(start))
const results = new Map<string, Array<number>>()
for (const perConnection of columns) {
  for (let round = -1; round < rounds; round++) {
    for (const name of names) {
      const rate = await run(Path.join(folder, name), {
        messages: Number(values.messages) / (round < 0 ? 3 : 1),
        perConnection,
        connections: 20
      })
      if (round < 0) continue // warm-up
      const key = `${name} ${perConnection}`
      results.set(key, [...(results.get(key) ?? []), rate])
    }
  }
}
for (const child of children) child.kill("SIGKILL")
Fs.rmSync(folder, { recursive: true })

console.log("messages/s, median of", rounds, "rounds; 20 connections over a UNIX socket")
for (const perConnection of columns) {
  const [floor, logging, quiet] = names.map((name) => median(results.get(`${name} ${perConnection}`)!))
  const ours = (rate: number): string => `${rate.toFixed(0)} (ratio ${(rate / floor!).toFixed(2)})`
  console.log(
    `  ${String(perConnection).padStart(2)} per connection: bare node:net ${floor!.toFixed(0)}, effect-milter ${
      ours(logging!)
    }, without its log line ${ours(quiet!)}`
  )
}
