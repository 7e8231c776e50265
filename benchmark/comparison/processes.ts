/** Processes that are measured: started on chosen CPUs, their CPU time and memory read from /proc. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import type { Command } from "./servers.ts"

/** Where a server listens, as libmilter writes it: `unix:PATH` or `inet:PORT@HOST`. */
export type Address = string

/** What `node:net` wants for an address. */
export const place = (
  address: Address
): { readonly path: string } | { readonly port: number; readonly host: string } => {
  const [, port, host] = /^inet:(\d+)@(.+)$/.exec(address) ?? []
  return host === undefined ? { path: address.slice("unix:".length) } : { port: Number(port), host }
}

/** With `cpu`, everything the process does happens on that one. */
export const pinned = (
  cpu: number | undefined,
  program: string,
  parameters: ReadonlyArray<string>
): [string, Array<string>] =>
  cpu === undefined ? [program, [...parameters]] : ["taskset", ["-c", String(cpu), program, ...parameters]]

/** Whether this system can run batch processes. */
export const hasBatch: boolean = spawnSync("chrt", ["--version"], { stdio: "ignore" }).status === 0

/** As a batch process: the kernel does not take the CPU from a server for it, when the server's write wakes it. */
export const asBatch = (program: string, parameters: ReadonlyArray<string>): [string, Array<string>] => [
  "chrt",
  ["--batch", "0", program, ...parameters]
]

const canConnect = (address: Address): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = Net.connect(place(address))
    socket.once("connect", () => resolve(true))
    socket.once("error", () => resolve(false))
    socket.once("close", () => socket.destroy())
    socket.once("connect", () => socket.end())
  })

/** A server that listens. */
export interface Running {
  readonly address: Address
  readonly child: ChildProcess
  /** Milliseconds from the start of the process until a connection was accepted. */
  readonly startTime: number
}

/** Starts a server and waits until it accepts connections. */
export const start = async (command: Command, address: Address, cpu: number | undefined): Promise<Running> => {
  const [program, parameters] = pinned(cpu, command.program, [...command.arguments])
  // The address is the first argument of a server, so options that belong to the file come after it.
  const file = parameters.findLastIndex((parameter) => /\.(ts|js|mjs|py|pl)$/.test(parameter))
  parameters.splice(file === -1 ? parameters.length : file + 1, 0, address)
  const started = performance.now()
  const log = command.log === undefined ? undefined : Fs.openSync(command.log, "a")
  const child = spawn(program, parameters, {
    env: { ...process.env, ...command.environment },
    stdio: ["ignore", log ?? "ignore", log ?? "inherit", command.program === process.execPath ? "ipc" : "ignore"]
  })
  if (log !== undefined) Fs.closeSync(log)
  let ended: string | undefined
  child.once("error", (error) => {
    ended = error.message
  })
  child.once("exit", (code, signal) => {
    ended = `it ended with ${code ?? signal}`
  })
  while (!(await canConnect(address))) {
    if (ended !== undefined) throw new Error(`${command.program} does not serve: ${ended}`)
    if (performance.now() - started > 60_000) throw new Error(`${command.program} does not listen on ${address}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return { address, child, startTime: performance.now() - started }
}

/** Ends a server with all its processes. */
export const stop = async ({ child }: Running): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once("exit", resolve))
  for (const pid of tree(child.pid!).toReversed()) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It has ended by itself.
    }
  }
  await gone
}

const read = (path: string): string => {
  try {
    return Fs.readFileSync(path, "utf8")
  } catch {
    return ""
  }
}

/** The process and its descendants. */
const tree = (pid: number): ReadonlyArray<number> => {
  const children = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter((text) => text !== "").map(Number)
  return [pid, ...children.flatMap(tree)]
}

/** Fields of /proc/PID/stat from the third one on: the second, a name in parentheses, may hold spaces. */
const stat = (pid: number): ReadonlyArray<string> => {
  const text = read(`/proc/${pid}/stat`)
  return text.slice(text.lastIndexOf(")") + 2).split(" ")
}

/** Microseconds in a clock tick of /proc: USER_HZ is 100 on every Linux that Node runs on. */
const tick = 10_000

/** CPU time in microseconds of all threads, all living processes below it and those that it has waited for. */
export const cpuTime = ({ child }: Running): number =>
  tree(child.pid!).reduce((sum, pid) => {
    const fields = stat(pid)
    // utime, stime, cutime, cstime are fields 14 to 17.
    return sum + tick * fields.slice(11, 15).reduce((ticks, field) => ticks + Number(field), 0)
  }, 0)

/** Resident memory in bytes of the process and those below it. Pages that several share count for each. */
export const residentMemory = ({ child }: Running): number =>
  tree(child.pid!).reduce(
    (sum, pid) => sum + 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0),
    0
  )
