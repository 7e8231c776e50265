/** What the comparison measures: cells, each one load that all its servers get in turn. */
import type { Size } from "../packets.ts"

/** What the driver does in one round. */
export interface Load extends Size {
  readonly connections: number
  /** Messages of the round, over all connections. */
  readonly messages: number
  /** Messages on a connection before it is closed; "held": the connections are opened before the round and stay. */
  readonly perConnection: number | "held"
}

/** A load, where the server listens, and how often it is measured. */
export interface Cell {
  readonly name: string
  readonly title: string
  readonly load: Load
  readonly transport: "unix" | "tcp"
  /** One CPU for the server and the driver together, or two that the kernel shares out. */
  readonly cpus: 1 | 2
  /** How the kernel schedules the driver: as a batch process it does not interrupt the server that wakes it. */
  readonly driver: "batch" | "ordinary"
  readonly rounds: number
  /** Base cells are for every server; the others leave out the variants of ours. */
  readonly base: boolean
}

/** How thorough a run is. */
export interface Effort {
  /** Rounds and messages of a base cell. */
  readonly rounds: number
  readonly messages: number
}

/** All cells: the base, then one thing at a time changed. */
export const cells = ({ messages, rounds }: Effort): ReadonlyArray<Cell> => {
  const load: Load = { connections: 20, messages, perConnection: 50, headers: 8, body: 4_096 }
  const cell = (
    name: string,
    title: string,
    changed: Partial<Load>,
    rest: Partial<Cell> = {}
  ): Cell => ({
    name,
    title,
    load: { ...load, ...changed },
    transport: "unix",
    cpus: 1,
    driver: "batch",
    rounds: Math.ceil(rounds / 3),
    base: false,
    ...rest
  })
  const half = Math.ceil(messages / 2)
  const held = (connections: number): Partial<Load> => ({
    connections,
    messages: Math.max(half, connections),
    perConnection: "held"
  })
  return [
    cell("base-50", "50 messages a connection", {}, { base: true, rounds }),
    cell("base-1", "1 message a connection", { perConnection: 1 }, { base: true, rounds }),
    cell("two-cpus", "two CPUs", { messages: half }, { cpus: 2, driver: "ordinary" }),
    cell("ordinary-50", "ordinary driver", { messages: half }, { driver: "ordinary" }),
    cell("ordinary-1", "ordinary driver, 1 message a connection", { messages: half, perConnection: 1 }, {
      driver: "ordinary"
    }),
    cell("tcp", "TCP", { messages: half }, { transport: "tcp" }),
    cell("connections-1", "1 connection", held(1)),
    cell("connections-10", "10 connections", held(10)),
    cell("connections-100", "100 connections", held(100)),
    cell("connections-1000", "1,000 connections", held(1_000)),
    cell("connections-10000", "10,000 connections", held(10_000), { rounds: Math.min(rounds, 2) }),
    cell("body-1k", "1 kB", { messages: half, body: 1_024 }),
    cell("body-100k", "100 kB", { messages: Math.ceil(messages / 4), body: 102_400 }),
    cell("body-10m", "10 MB", {
      connections: 4,
      messages: Math.ceil(messages / 200),
      perConnection: 5,
      body: 10_485_760
    }),
    cell("headers-64", "64 headers", { messages: Math.ceil(messages / 8), headers: 64 }),
    cell("headers-256", "256 headers", { messages: Math.ceil(messages / 32), headers: 256 })
  ]
}

/** The cells of a quick run. */
export const quickCells = ["base-50", "base-1", "tcp", "connections-1000", "body-100k"]
