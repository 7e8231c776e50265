/**
 * Messages per second through several workers beside one worker, with a hook that keeps a core busy for 5 ms; interleaved in
 * one run.
 *
 * npm run bench:workers [-- --messages 400 --rounds 5 --workers 2]
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Connection, forms } from "./comparison/mta.ts"
import { makeMessage } from "./packets.ts"

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "400" },
    rounds: { type: "string", default: "5" },
    workers: { type: "string", default: String(Os.availableParallelism()) }
  }
})
const rounds = Number(values.rounds)
const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-bench-"))
const counts = ["1", values.workers]

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = Net.connect({ path }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })

const start = async (count: string): Promise<ChildProcess> => {
  const path = Path.join(folder, count)
  const server = fileURLToPath(new URL("./servers/workers.ts", import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, server, path, count], { stdio: ["ignore", "ignore", 2] })
  while (!await answers(path)) {
    if (child.exitCode !== null) throw new Error(`the server with ${count} workers has exited`)
    await setTimeout(100)
  }
  return child
}

const mail = forms(makeMessage({ headers: 8, body: 4000 }))

/** Messages per second over 20 connections at a time with 5 messages each. */
const run = async (path: string, messages: number): Promise<number> => {
  let left = messages
  const started = performance.now()
  await Promise.all(Array.from({ length: 20 }, async () => {
    while (left > 0) {
      left -= 5
      const connection = new Connection(`unix:${path}`)
      await connection.open()
      for (let message = 0; message < 5; message++) await connection.message(mail)
      await connection.close()
    }
  }))
  return messages / ((performance.now() - started) / 1000)
}

const median = (numbers: ReadonlyArray<number>): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!

const children = await Promise.all(counts.map(start))
// All workers of the second server have had time to start.
await setTimeout(3000)
const results = new Map<string, Array<number>>(counts.map((count) => [count, []]))
for (let round = -1; round < rounds; round++) {
  for (const count of counts) {
    const rate = await run(Path.join(folder, count), Number(values.messages) / (round < 0 ? 4 : 1))
    if (round >= 0) results.get(count)!.push(rate)
  }
}
for (const child of children) child.kill("SIGTERM")

const ratios = results.get("1")!.map((rate, round) => results.get(values.workers)![round]! / rate)
console.log(`messages/s, a hook of 5 ms of CPU, ${rounds} rounds; 20 connections of 5 messages over a UNIX socket`)
for (const count of counts) {
  console.log(`  ${count} workers: median ${median(results.get(count)!).toFixed(0)}`)
}
console.log(`  ratio: median ${median(ratios).toFixed(2)}, of ${ratios.map((ratio) => ratio.toFixed(2)).join(" ")}`)
await Promise.all(children.map((child) => new Promise((resolve) => child.once("exit", resolve))))
Fs.rmSync(folder, { recursive: true })
