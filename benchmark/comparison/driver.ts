/** The load driver, a process of its own: gets orders from the comparison, answers each when it has been carried out. */
import { createHistogram } from "node:perf_hooks"
import { setTimeout } from "node:timers/promises"
import { makeMessage } from "../packets.ts"
import type { Load } from "./cells.ts"
import { Connection, forms, lastAnswer, type Message } from "./mta.ts"
import type { Address } from "./processes.ts"

/** What a round took. Latency of a message, in microseconds: from its MAIL to the reply at its end. */
export interface Round {
  readonly seconds: number
  readonly messages: number
  readonly p50: number
  readonly p99: number
}

/** An order and what it needs. */
export type Order =
  /** Opens connections, to the point where a message can begin, and keeps them. */
  | { readonly _tag: "Open"; readonly address: Address; readonly connections: number }
  /** Sends messages, over connections of its own or those that are open, if the load never closes them. */
  | { readonly _tag: "Run"; readonly address: Address; readonly load: Load }
  /** Begins a message on each open connection and does not end it. */
  | { readonly _tag: "Begin"; readonly load: Load }
  /** Closes what is open. */
  | { readonly _tag: "Close" }

let held: ReadonlyArray<Connection> = []

/** As many at a time as a listen queue holds with ease. */
const openAll = async (address: Address, count: number): Promise<ReadonlyArray<Connection>> => {
  const connections: Array<Connection> = []
  while (connections.length < count) {
    const some = Array.from({ length: Math.min(100, count - connections.length) }, () => new Connection(address))
    connections.push(...some)
    await Promise.all(some.map((connection) => connection.open()))
  }
  return connections
}

const run = async (address: Address, load: Load): Promise<Round> => {
  const message = forms(makeMessage(load))
  const latencies = createHistogram({ figures: 3 })
  const timed = async (connection: Connection, what: Message): Promise<void> => {
    const before = performance.now()
    await connection.message(what)
    latencies.record(Math.max(1, Math.round((performance.now() - before) * 1000)))
  }
  let left = load.messages
  const keeping = async (connection: Connection): Promise<void> => {
    while (left-- > 0) await timed(connection, message)
  }
  const reopening = async (perConnection: number): Promise<void> => {
    while (left > 0) {
      const count = Math.min(left, perConnection)
      left -= count
      const connection = new Connection(address)
      await connection.open()
      for (let index = 0; index < count; index++) await timed(connection, message)
      await connection.close()
    }
  }
  const started = performance.now()
  const { perConnection } = load
  await Promise.all(
    perConnection === "held"
      ? held.map(keeping)
      : Array.from({ length: load.connections }, () => reopening(perConnection))
  )
  return {
    seconds: (performance.now() - started) / 1000,
    messages: load.messages,
    p50: latencies.percentile(50),
    p99: latencies.percentile(99)
  }
}

const carryOut = async (order: Order): Promise<unknown> => {
  switch (order._tag) {
    case "Open":
      held = await openAll(order.address, order.connections)
      return undefined
    case "Run":
      return await run(order.address, order.load)
    case "Begin": {
      const message = forms(makeMessage(order.load))
      await Promise.all(held.map((connection) => connection.begin(message)))
      return undefined
    }
    case "Close": {
      const all = held
      held = []
      await Promise.all(all.map((connection) => connection.close()))
      return undefined
    }
  }
}

/** Seconds without an answer after which a server is given up: one that accepts fewer connections would stop the whole run. */
const patience = 60

/** Rejects when the server has not answered for too long. */
const silence = async (signal: AbortSignal): Promise<never> => {
  const started = performance.now()
  while (true) {
    await setTimeout(1_000, undefined, { signal })
    if (performance.now() - Math.max(started, lastAnswer()) > patience * 1_000) {
      throw new Error(`no answer for ${patience} s`)
    }
  }
}

const answerTo = async (order: Order): Promise<void> => {
  const finished = new AbortController()
  try {
    process.send!({ result: await Promise.race([carryOut(order), silence(finished.signal)]) })
  } catch (error) {
    process.send!({ error: (error as Error).message })
  } finally {
    finished.abort()
  }
}

process.on("message", (order: Order) => void answerTo(order))
process.on("disconnect", () => process.exit())
process.send!({ result: "ready" })
