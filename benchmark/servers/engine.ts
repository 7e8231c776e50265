/**
 * A server on a transport in memory, and the MTA on its other end, in one process: what is measured is the engine, no
 * socket. The parent asks for rounds; each answer is the CPU time of this process, with garbage collection and compiler.
 */
import * as MilterServer from "effect-milter/MilterServer"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
// The same symbol in every checkout that has one; older ones look for the members themselves.
import { acceptingKey } from "../../src/internal/net/listener.ts"
import type { Handlers, Transport } from "../../src/internal/net/transport.ts"
import { abort, join, message, opening, quit } from "../packets.ts"
import { calibrate } from "./calibration.ts"
import { blocked, Filter, Five } from "./filters.ts"

/** What the parent asks for: a number for each unit. */
export interface Round {
  /** CPU microseconds, or bytes that are allocated. */
  readonly measure: "time" | "garbage"
  readonly filters: "one" | "five"
  /** A message on a connection that is open, a connection without one, or a connection with one; or what they are compared to. */
  readonly unit: "message" | "connection" | "both" | "calibration"
  readonly count: number
}

/** Hands over what is sent at once; the engine answers before `send` returns. */
class Wire implements Transport {
  readonly peer = "memory"
  readonly address = undefined
  private handlers: Handlers | undefined
  private isClosing = false
  private answers = 0

  open(handlers: Handlers): void {
    this.handlers = handlers
  }

  write(): boolean {
    this.answers++
    return true
  }

  pause(): void {
    throw new Error("paused, though every command was answered")
  }

  resume(): void {
    this.pause()
  }

  close(): void {
    this.isClosing = true
  }

  destroy(): void {
    throw new Error("destroyed")
  }

  /** Sends what is answered once. */
  send(bytes: Uint8Array): void {
    const before = this.answers
    this.handlers!.data(bytes)
    if (this.answers !== before + 1) throw new Error(`${this.answers - before} answers instead of one`)
  }

  begin(): void {
    for (const step of opening) this.send(step)
  }

  /** The first message of a connection, or a later one, before which an abort comes. */
  message(first: Uint8Array): void {
    this.send(first)
    for (let step = 1; step < message.length; step++) this.send(message[step]!)
  }

  end(): void {
    this.handlers!.data(quit)
    if (!this.isClosing) throw new Error("open after QUIT")
    this.handlers!.closed(undefined)
  }
}

const nextMail = join(abort, message[0]!)

const start = async (filter: typeof Filter): Promise<() => Wire> => {
  let accept: ((transport: Transport) => void) | undefined
  const accepting = {
    addresses: ["memory"],
    accept: (onConnection: (transport: Transport) => void) =>
      Effect.sync(() => {
        accept = onConnection
      }),
    stop: Effect.void,
    drains: false
  }
  const server = MilterServer.layer(filter).pipe(
    Layer.provide([blocked, Layer.succeed(MilterServer.Listener, { ...accepting, [acceptingKey]: accepting })])
  )
  await Effect.runPromise(
    Layer.buildWithScope(server, Scope.makeUnsafe()).pipe(
      Effect.provideService(References.MinimumLogLevel, "Warn"),
      Effect.exit,
      Effect.map(Exit.getSuccess)
    )
  )
  return () => {
    const wire = new Wire()
    accept!(wire)
    return wire
  }
}

const servers = { one: await start(Filter), five: await start(Five) }

const play = ({ count, filters, unit }: Round): void => {
  if (unit === "calibration") {
    if (calibrate(count) !== count * message.length) throw new Error("the calibration did not answer each command")
    return
  }
  const dial = servers[filters]
  if (unit !== "message") {
    for (let index = 0; index < count; index++) {
      const wire = dial()
      wire.begin()
      if (unit === "both") wire.message(message[0]!)
      wire.end()
    }
    return
  }
  const wire = dial()
  wire.begin()
  wire.message(message[0]!)
  for (let index = 1; index < count; index++) wire.message(nextMail)
  wire.end()
}

const measureTime = (round: Round): number => {
  const before = process.cpuUsage()
  play(round)
  const { system, user } = process.cpuUsage(before)
  return system + user
}

/** So few units that nothing is collected meanwhile. */
const measureGarbage = (round: Round): number => {
  ;(globalThis.gc as () => void)()
  const before = process.memoryUsage().heapUsed
  play(round)
  return process.memoryUsage().heapUsed - before
}

process.on("message", (round: Round) => {
  process.send!((round.measure === "time" ? measureTime(round) : measureGarbage(round)) / round.count)
})
process.send!("ready")
// The parent is gone.
process.on("disconnect", () => process.exit())
