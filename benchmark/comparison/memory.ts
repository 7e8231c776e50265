/** What connections and messages cost in memory, and whether a long run keeps any of it. */
import type { Load } from "./cells.ts"
import { Driver, freeAddress, type Prepared } from "./measure.ts"
import { residentMemory, type Running, start, stop } from "./processes.ts"

/** Bytes for each connection or message. Heap is known for Node only; buffers outside of it count. */
export interface Footprint {
  readonly title: string
  readonly connections: number
  readonly idle?: { readonly resident: number; readonly heap?: number }
  readonly inMessage?: { readonly resident: number; readonly heap?: number }
  readonly failure?: string
}

/** Memory of our server in the course of a long run, in bytes after a garbage collection. */
export interface Course {
  readonly messages: number
  readonly heap: number
  readonly resident: number
}

const load: Load = { connections: 0, messages: 0, perConnection: 50, headers: 8, body: 4_096 }

/** Asks a server of ours; the others hold no heap that could be asked for. */
const heap = async ({ child }: Running): Promise<number | undefined> => {
  if (!child.connected) return undefined
  const answer = new Promise<NodeJS.MemoryUsage>((resolve) =>
    child.once("message", (usage) => resolve(usage as NodeJS.MemoryUsage))
  )
  child.send("memory")
  const { external, heapUsed } = await answer
  return heapUsed + external
}

const memory = async (running: Running): Promise<{ readonly resident: number; readonly heap?: number }> => {
  const used = await heap(running)
  return { resident: residentMemory(running), ...(used === undefined ? {} : { heap: used }) }
}

type Memory = Awaited<ReturnType<typeof memory>>

const each = (before: Memory, after: Memory, count: number): Memory => ({
  resident: (after.resident - before.resident) / count,
  ...(before.heap === undefined || after.heap === undefined ? {} : { heap: (after.heap - before.heap) / count })
})

/** Opens connections that do nothing, then has a message arrive on each, up to its end. */
export const measureFootprint = async (
  { command, server }: Prepared,
  connections: number,
  folder: string
): Promise<Footprint> => {
  const driver = await Driver.start(undefined)
  const address = freeAddress(folder, "unix", server.name)
  const running = await start(command, address, undefined)
  const done: { idle?: Memory; inMessage?: Memory } = {}
  let failure: string | undefined
  try {
    // What the first sessions load and compile stays, whatever comes after them.
    await driver.send({ _tag: "Run", address, load: { ...load, connections: 20, messages: 2_000 } })
    const before = await memory(running)
    await driver.send({ _tag: "Open", address, connections })
    const idle = await memory(running)
    done.idle = each(before, idle, connections)
    await driver.send({ _tag: "Begin", load })
    done.inMessage = each(idle, await memory(running), connections)
    await driver.send({ _tag: "Close" })
  } catch (error) {
    failure = (error as Error).message
  }
  await stop(running)
  await driver.stop()
  return { title: server.title, connections, ...done, ...(failure === undefined ? {} : { failure }) }
}

/** Sends this many messages to our server and looks at its memory at intervals. */
export const measureCourse = async (
  { command, server }: Prepared,
  messages: number,
  options: { readonly folder: string; readonly onSample: (messages: number) => void }
): Promise<ReadonlyArray<Course>> => {
  const driver = await Driver.start(undefined)
  const address = freeAddress(options.folder, "unix", server.name)
  const running = await start(command, address, undefined)
  const course: Array<Course> = []
  const samples = 20
  const share = Math.ceil(messages / samples)
  for (let sent = 0; sent <= messages; sent += share) {
    if (sent > 0) await driver.send({ _tag: "Run", address, load: { ...load, connections: 20, messages: share } })
    const { heap, resident } = await memory(running)
    course.push({ messages: sent, heap: heap ?? 0, resident })
    options.onSample(sent)
  }
  await stop(running)
  await driver.stop()
  return course
}
