/** Runs the cells of the comparison: the servers of a cell in turn, round by round, against one driver. */
import { type ChildProcess, spawn } from "node:child_process"
import * as Path from "node:path"
import type { Cell, Load } from "./cells.ts"
import type { Order, Round } from "./driver.ts"
import { type Address, asBatch, cpuTime, hasBatch, pinned, type Running, start, stop } from "./processes.ts"
import type { Command, Server } from "./servers.ts"

/** A server that could be built. */
export interface Prepared {
  readonly server: Server
  readonly command: Command
}

/** One round of one server. */
export interface Sample extends Round {
  /** CPU microseconds of the server for a message. */
  readonly cpu: number
}

/** All rounds of one server in one cell. */
export interface Measured {
  readonly server: string
  /** Missing with an explanation if it could not carry the load. */
  readonly samples: ReadonlyArray<Sample>
  readonly failure?: string
}

const reply = <A>(child: ChildProcess): Promise<A> =>
  new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the driver ended with ${code}`))
    child.once("exit", onExit)
    child.once("message", (answer: { readonly result: A } | { readonly error: string }) => {
      child.off("exit", onExit)
      if ("error" in answer) reject(new Error(answer.error))
      else resolve(answer.result)
    })
  })

/** The driver's process. */
export class Driver {
  private readonly child: ChildProcess

  private constructor(child: ChildProcess) {
    this.child = child
  }

  static async start(cpu: number | undefined, scheduled: Cell["driver"] = "ordinary"): Promise<Driver> {
    const file = new URL("./driver.ts", import.meta.url).pathname
    const own = pinned(cpu, process.execPath, [...process.execArgv, file])
    const [program, parameters] = hasBatch && scheduled === "batch" ? asBatch(...own) : own
    const child = spawn(program, parameters, {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced"
    })
    await reply(child)
    return new Driver(child)
  }

  async send<A = void>(order: Order): Promise<A> {
    const answer = reply<A>(this.child)
    this.child.send(order)
    return await answer
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once("exit", resolve))
    this.child.disconnect()
    await gone
  }
}

let ports = 0
/** An address of its own for each server. */
export const freeAddress = (folder: string, transport: Cell["transport"], name: string): Address =>
  transport === "unix"
    ? `unix:${Path.join(folder, `${name}-${ports++}.sock`)}`
    : `inet:${20_000 + process.pid % 10_000 + ports++}@127.0.0.1`

/** The load as this server gets it. */
export const loadOf = (server: Server, load: Load): Load => ({
  ...load,
  messages: Math.min(load.messages, server.maxMessages ?? Infinity)
})

/** Whether this server takes part in the cell. */
export const takesPart = ({ base, load }: Cell, server: Server): boolean =>
  (base || server.variant !== true) && load.connections <= (server.maxConnections ?? Infinity)

const round = async (driver: Driver, running: Running, load: Load): Promise<Sample> => {
  const { address } = running
  const isHeld = load.perConnection === "held"
  if (isHeld) await driver.send({ _tag: "Open", address, connections: load.connections })
  const before = cpuTime(running)
  const result = await driver.send<Round>({ _tag: "Run", address, load })
  // The last connections are closed, and what a server does after that takes a moment.
  await new Promise((resolve) => setTimeout(resolve, 20))
  const cpu = (cpuTime(running) - before) / load.messages
  if (isHeld) await driver.send({ _tag: "Close" })
  return { ...result, cpu }
}

/** Messages until the compilers of Node have done what they do. */
const warmUpMessages = 6_000

const warmUp = (load: Load): Load => ({
  ...load,
  messages: Math.max(load.connections, Math.min(warmUpMessages, load.messages))
})

/** Rounds of one process: what the compilers make of the same code differs from process to process by some hundredths. */
const roundsOfProcess = 4

/** Measures the servers in one cell. */
export const measureCell = async (
  cell: Cell,
  prepared: ReadonlyArray<Prepared>,
  options: { readonly folder: string; readonly cpu: number | undefined; readonly onRound: (round: number) => void }
): Promise<ReadonlyArray<Measured>> => {
  const cpu = cell.cpus === 1 ? options.cpu : undefined
  const driver = await Driver.start(cpu, cell.driver)
  const all = prepared.filter(({ server }) => takesPart(cell, server)).map(({ command, server }) => ({
    server,
    command,
    load: loadOf(server, cell.load),
    running: undefined as Running | undefined,
    samples: [] as Array<Sample>,
    failure: undefined as string | undefined
  }))
  try {
    for (let index = 0; index < cell.rounds; index++) {
      options.onRound(index)
      for (const entry of all) {
        if (entry.failure !== undefined) continue
        try {
          if (index % roundsOfProcess === 0) {
            if (entry.running !== undefined) await stop(entry.running)
            const address = freeAddress(options.folder, cell.transport, entry.server.name)
            entry.running = await start(entry.command, address, cpu)
            await round(driver, entry.running, warmUp(entry.load))
          }
          entry.samples.push(await round(driver, entry.running!, entry.load))
        } catch (error) {
          entry.failure = (error as Error).message
          if (entry.running !== undefined) await stop(entry.running)
          await driver.send({ _tag: "Close" })
        }
      }
    }
  } finally {
    for (const { running } of all) if (running !== undefined) await stop(running)
    await driver.stop()
  }
  return all.map(({ failure, samples, server }) => ({
    server: server.name,
    samples,
    ...(failure === undefined ? {} : { failure })
  }))
}

/** Microseconds of one CPU for a packet that is answered, at the server and the driver together: for the planned time only. */
const packetTime: Readonly<Record<string, number>> = { pymilter: 40, pmilter: 120 }

/** The time in seconds that a cell is planned to take. */
export const plannedSeconds = (cell: Cell, prepared: ReadonlyArray<Prepared>): number =>
  prepared.filter(({ server }) => takesPart(cell, server)).reduce((sum, { server }) => {
    const load = loadOf(server, cell.load)
    // Opening and closing a connection is as much as ten packets.
    const opening = 10 * (load.perConnection === "held" ? load.connections / load.messages : 1 / load.perConnection)
    const packets = 5 + load.headers + Math.ceil(load.body / 65_535) + opening
    const perPacket = (packetTime[server.name] ?? 24) + load.body / packets * 0.0008
    const processes = Math.ceil(cell.rounds / roundsOfProcess)
    const messages = cell.rounds * load.messages + processes * warmUp(load).messages
    return sum + processes + messages * packets * perPacket / 1e6
  }, 1)
