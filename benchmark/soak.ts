/**
 * A long life in minutes: a server process gets session after session with messages, aborts, disconnects, broken frames and
 * failing, dying, slow and stubborn hooks. At intervals all sessions end, garbage is collected and what is left is counted.
 * Fails if that grows.
 *
 * npm run soak [-- --minutes 2 --seed 1 --connections 20]
 */
import * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import { type ChildProcess, fork } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { parseArgs } from "node:util"
import type { Sample } from "./servers/soak.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: "1" },
    connections: { type: "string", default: "20" }
  }
})
const milliseconds = Number(values.minutes) * 60_000
/** One before the load and twelve during it. */
const samples = 13

// --- choices that a seed repeats (mulberry32)

let seed = Number(values.seed)
const random = (below: number): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) % below
}
const pick = <A>(all: ReadonlyArray<A>): A => all[random(all.length)]!

// --- sessions

const bytes = ByteString.fromText
const encode = (...packets: ReadonlyArray<Packet.MtaPacket>): Uint8Array =>
  Buffer.concat(packets.map((packet) => Packet.encode(packet)))
const macro = (stage: string): Packet.MtaPacket => ({
  _tag: "Macro",
  stage: bytes(stage),
  macros: [{ name: bytes("i"), value: bytes("4YqTzX0Jk1z9rZ") }]
})

/** Each is written at once and gets one verdict. */
const opening: ReadonlyArray<Uint8Array> = [
  encode({ _tag: "Negotiate", version: 6, actions: 0x1ff, steps: 0x1fffff }),
  encode({
    _tag: "Connect",
    hostname: bytes("client.example.net"),
    address: { _tag: "IPv4", port: 40112, address: bytes("198.51.100.7") }
  }),
  encode({ _tag: "Helo", name: bytes("client.example.net") })
]

const message = (kind: string): ReadonlyArray<Uint8Array> => [
  encode(macro("M"), { _tag: "Mail", sender: bytes(`<${kind}@example.net>`), parameters: [] }),
  ...Array.from(
    { length: 1 + random(4) },
    (_, index) => encode({ _tag: "Rcpt", recipient: bytes(`<${index}@example.org>`), parameters: [] })
  ),
  encode(macro("T"), { _tag: "Data" }),
  ...Array.from(
    { length: 1 + random(8) },
    (_, index) =>
      encode(macro("L"), { _tag: "Header", name: bytes(`X-${index}`), value: bytes(" value".repeat(random(40))) })
  ),
  encode({ _tag: "EndOfHeaders" }),
  ...Array.from({ length: random(3) }, () => encode({ _tag: "Body", bytes: new Uint8Array(random(65_535)).fill(120) })),
  encode(macro("E"), { _tag: "EndOfMessage", bytes: new Uint8Array(0) })
]

const kinds = ["fine", "fine", "fine", "wait", "reject", "fail", "die", "skip", "discard", "replace"]
/** These take longer than the server allows. */
const slowKinds = ["hang", "stubborn", "long"]

const abort = encode({ _tag: "Abort" })
const quit = encode({ _tag: "Quit" })
const verdicts = new Set(Array.from("Ocartdys", (letter) => letter.charCodeAt(0)))

/** How a session ends before it is over. The last ones make the server wait for a while. */
const quick = ["reset", "end", "quit", "abort", "broken frame"] as const
const tedious = ["half a frame", "unread", "idle"] as const

/** One session; resolves when the connection is closed. */
const session = (path: string): Promise<number> =>
  new Promise((resolve) => {
    const slow = random(50) === 0
    const steps = [...opening]
    for (let count = 1 + random(4); count > 0; count--) {
      const [mail, ...rest] = message(slow ? pick(slowKinds) : pick(kinds))
      steps.push(Buffer.concat([abort, mail!]), ...rest)
    }
    const ending = random(100) < 50 ? undefined : random(100) < 4 ? pick(tedious) : pick(quick)
    const last = ending === undefined ? steps.length : random(steps.length)
    const socket = Net.connect({ path })
    let step = 0
    let messages = 0
    let finished = false
    let pending = Buffer.alloc(0)
    const next = (): void => {
      if (step === last) return finish()
      socket.write(steps[step++]!)
    }
    const finish = (): void => {
      finished = true
      switch (ending) {
        case undefined:
          return void socket.end(Buffer.concat([abort, quit]))
        case "reset":
          // UNIX sockets have no reset; a command before the end makes the other side's answer fail.
          socket.write(steps[step]!)
          return void socket.destroy()
        case "end":
          return void socket.end(steps[step]!)
        case "quit":
          return void socket.end(Buffer.concat([steps[step]!, quit]))
        case "abort":
          return void socket.end(Buffer.concat([steps[step]!, abort, quit]))
        case "broken frame":
          return void socket.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x4d))
        case "half a frame":
          return void socket.write(Uint8Array.of(0, 0, 0, 9, 0x4d))
        case "unread":
          socket.pause()
          socket.write(Buffer.concat(steps.slice(step)))
          return void setTimeout(() => socket.destroy(), 700)
        case "idle":
      }
    }
    socket.on("connect", next)
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
        const code = pending[4]!
        pending = pending.subarray(4 + pending.readUInt32BE(0))
        if (finished || !verdicts.has(code)) continue
        if (steps[step - 1]!.at(-1) === 0x45) messages++
        next()
      }
    })
    socket.on("error", () => undefined)
    socket.on("close", () => resolve(messages))
  })

// --- the server

const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-milter-soak-"))
const path = Path.join(folder, "filter.sock")
const temporary = Path.join(folder, "temporary")
Fs.mkdirSync(temporary)
const server: ChildProcess = fork(new URL("./servers/soak.ts", import.meta.url), [path], {
  execArgv: [...process.execArgv, "--expose-gc"],
  env: { ...process.env, TMPDIR: temporary },
  stdio: ["ignore", "ignore", "inherit", "ipc"]
})
process.once("exit", () => {
  server.kill("SIGKILL")
  Fs.rmSync(folder, { recursive: true, force: true })
})
let receive: { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void } | undefined
server.on("message", (value) => receive?.resolve(value))
const exit = new Promise<number | null>((resolve) =>
  server.once("exit", (code) => {
    receive?.reject(new Error(`the server ended with ${code}`))
    resolve(code)
  })
)
const answer = <A>(): Promise<A> =>
  new Promise((resolve, reject) => {
    receive = { resolve: (value) => resolve(value as A), reject } // the server sends what it is asked for
  })
await answer()

const takeSample = async (): Promise<Sample> => {
  let sample: Sample
  let turns = 0
  do {
    server.send("sample")
    sample = await answer<Sample>()
    // The last finalizers run after their connections have closed.
  } while (++turns < 50 && (sample.connections > 0 || sample.messages > 0))
  return sample
}

// --- the run

let sessions = 0
let messages = 0

const load = async (until: number): Promise<void> => {
  await Promise.all(Array.from({ length: Number(values.connections) }, async () => {
    while (performance.now() < until) {
      const ended = await session(path)
      messages += ended
      sessions++
    }
  }))
}

const columns = [
  "seconds",
  "sessions",
  "messages",
  "heap MB",
  "buffers MB",
  "resident MB",
  "fds",
  "handles",
  "fibers",
  "connections",
  "open messages"
]
const megabytes = (bytes: number): string => (bytes / 1_048_576).toFixed(2)
const print = (cells: ReadonlyArray<string | number>): void =>
  console.log(cells.map((cell, index) => String(cell).padStart(columns[index]!.length)).join("  "))

print(columns)
const started = performance.now()
const taken: Array<Sample> = []
for (let index = 0; index < samples; index++) {
  if (index > 0) await load(started + milliseconds * index / (samples - 1))
  const sample = await takeSample()
  taken.push(sample)
  print([
    ((performance.now() - started) / 1000).toFixed(0),
    sessions,
    messages,
    megabytes(sample.heap),
    megabytes(sample.external),
    megabytes(sample.resident),
    sample.descriptors,
    sample.handles,
    sample.fibers,
    sample.connections,
    sample.messages
  ])
}
console.log("messages by outcome:", JSON.stringify(taken.at(-1)!.outcomes))
const leftBehind = Fs.readdirSync(temporary)
server.kill("SIGTERM")
const code = await exit

// --- the judgement: after the start and a time to warm up, what follows is halved and compared

const average = (numbers: ReadonlyArray<number>): number =>
  numbers.reduce((sum, number) => sum + number, 0) / numbers.length
const growth = (of: (sample: Sample) => number): number =>
  average(taken.slice(9).map(of)) - average(taken.slice(5, 9).map(of))
const problems: Array<string> = []
const check = (what: string, grown: number, allowed: number): void => {
  if (grown > allowed) problems.push(`${what} grew by ${grown.toFixed(2)}, more than ${allowed}`)
}
check("heap in MB", growth(({ heap }) => heap) / 1_048_576, 1)
check("buffers in MB", growth(({ external }) => external) / 1_048_576, 1)
// What the allocator keeps for itself takes some minutes to level off.
check("resident memory in MB", growth(({ resident }) => resident) / 1_048_576, 32)
check("the number of descriptors", growth(({ descriptors }) => descriptors), 0.5)
check("the number of handles", growth(({ handles }) => handles), 0.5)
check("the number of fibers", growth(({ fibers }) => fibers), 0.5)
for (const [index, { connections, messages }] of taken.entries()) {
  if (connections > 0) problems.push(`sample ${index}: ${connections} scopes of connections are open`)
  if (messages > 0) problems.push(`sample ${index}: ${messages} scopes of messages are open`)
}
if (leftBehind.length > 0) problems.push(`temporary files are left: ${leftBehind.join(", ")}`)
if (code !== 0) problems.push(`the server ended with ${code}`)
for (const problem of problems) console.log(`NOT FLAT: ${problem}`)
if (problems.length === 0) console.log("flat")
process.exitCode = problems.length === 0 ? 0 : 1
