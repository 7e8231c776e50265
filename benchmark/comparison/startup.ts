/** How long servers take until they accept a connection, and how much memory they then hold. */
import { type Way, ways } from "./bundles.ts"
import { freeAddress, type Prepared } from "./measure.ts"
import { residentMemory, start, stop } from "./processes.ts"

/** One server, all its starts. */
export interface Startup {
  readonly title: string
  /** Milliseconds from the start of the process until it has accepted a connection. */
  readonly times: ReadonlyArray<number>
  /** Resident bytes after that, the least of the starts. */
  readonly resident: number
  /** Size of its one file. */
  readonly bytes?: number
}

/** Built for it, rather than run from their sources. */
const onNode = new Set(["floor", "effect-milter"])

/** Starts the servers in turn, several times. */
export const measureStartup = async (
  prepared: ReadonlyArray<Prepared>,
  options: { readonly folder: string; readonly cpu: number | undefined; readonly rounds: number }
): Promise<ReadonlyArray<Startup>> => {
  const others = prepared.filter(({ server }) => !onNode.has(server.name)).map(({ command, server }): Way => ({
    name: server.name,
    title: server.title,
    command
  }))
  const all = [...ways(), ...others].map((one) => ({ ...one, times: [] as Array<number>, resident: Infinity }))
  for (let round = 0; round < options.rounds; round++) {
    for (const one of all) {
      const running = await start(one.command, freeAddress(options.folder, "unix", one.name), options.cpu)
      one.times.push(running.startTime)
      one.resident = Math.min(one.resident, residentMemory(running))
      await stop(running)
    }
  }
  return all.map(({ bytes, resident, times, title }) => ({
    title,
    times,
    resident,
    ...(bytes === undefined ? {} : { bytes })
  }))
}
